"""Training batches: batch k is a pure function of (cell seed, k), made on the training device."""

from slackoff.data.module import OpenUnlabelled, PairData, RainyData, StepNumbers
from slackoff.data.streams import BatchStream, ImageBank, PairStream, RainyBatch, UnlabelledStream
from slackoff.data.unlabelled import (
    Surroundings,
    UnlabelledFolder,
    UnlabelledPhotos,
    UnlabelledRest,
    UnlabelledSynthesised,
)

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
