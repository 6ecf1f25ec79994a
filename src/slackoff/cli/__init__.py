"""The command line: verbs, the Hydra entry and mistakes in one sentence."""
