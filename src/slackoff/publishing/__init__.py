"""The verb that shows a study in W&B."""
