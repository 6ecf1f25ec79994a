"""Training regimes as LightningModules: what one step minimises and with which optimiser."""

from slackoff.tasks.multitask import MultitaskTask
from slackoff.tasks.semi_supervised import SemiSupervisedTask
from slackoff.tasks.sirr import SIRRTask
from slackoff.tasks.step_seed import StepSeed
from slackoff.tasks.supervised import SupervisedTask
from slackoff.tasks.syn2real import Syn2RealTask
from slackoff.tasks.task import Task

__all__ = ["MultitaskTask", "SIRRTask", "SemiSupervisedTask", "StepSeed", "SupervisedTask", "Syn2RealTask", "Task"]
