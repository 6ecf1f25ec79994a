"""Training batches: batch k is a pure function of (cell seed, k), made on the training device."""

from slackoff.data.batch import RainyBatch
from slackoff.data.image_bank import ImageBank
from slackoff.data.module import OpenUnlabelled, PairData, RainyData, StepNumbers
from slackoff.data.pairs import PairStream
from slackoff.data.synthesised import BatchStream
from slackoff.data.unlabelled import (
    Surroundings,
    UnlabelledFolder,
    UnlabelledPhotos,
    UnlabelledRest,
    UnlabelledSynthesised,
)
from slackoff.data.unlabelled_stream import UnlabelledStream

__all__ = [
    "BatchStream",
    "ImageBank",
    "OpenUnlabelled",
    "PairData",
    "PairStream",
    "RainyBatch",
    "RainyData",
    "StepNumbers",
    "Surroundings",
    "UnlabelledFolder",
    "UnlabelledPhotos",
    "UnlabelledRest",
    "UnlabelledStream",
    "UnlabelledSynthesised",
]
