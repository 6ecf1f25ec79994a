"""Training regimes as LightningModules: what one step minimises and with which optimiser."""

from slackoff.tasks.supervised import SupervisedTask

__all__ = ["SupervisedTask"]
