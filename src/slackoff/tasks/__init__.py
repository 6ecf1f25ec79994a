"""Training regimes as LightningModules: what one step minimises and with which optimiser."""

from slackoff.tasks.multitask import MultitaskTask
from slackoff.tasks.semi_supervised import SemiSupervisedTask
from slackoff.tasks.step_seed import StepSeed
from slackoff.tasks.supervised import SupervisedTask
from slackoff.tasks.task import Task

__all__ = ["MultitaskTask", "SemiSupervisedTask", "StepSeed", "SupervisedTask", "Task"]
