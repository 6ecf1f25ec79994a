"""Training regimes as LightningModules: what one step minimises and with which optimiser."""

from slackoff.tasks.multitask import MultitaskTask
from slackoff.tasks.semi_supervised import SemiSupervisedTask
from slackoff.tasks.sirr import SIRRTask
from slackoff.tasks.syn2real import Syn2RealTask
from slackoff.tasks.task import SGD, Cosine, Steps, StepSeed, SupervisedTask, Task

__all__ = [
    "SGD",
    "Cosine",
    "MultitaskTask",
    "SIRRTask",
    "SemiSupervisedTask",
    "StepSeed",
    "Steps",
    "SupervisedTask",
    "Syn2RealTask",
    "Task",
]
