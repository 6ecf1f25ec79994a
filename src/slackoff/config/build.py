"""From config nodes to objects: the only place that makes what a ``_target_`` names."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from torch.utils.data import Dataset

from slackoff.config.packages import targets_in
from slackoff.config.schema import CALLED_WITH, METRIC
from slackoff.config.validate import checked_node
from slackoff.data import OpenUnlabelled, PairData, RainyData, Surroundings, UnlabelledStream
from slackoff.data.datasets import DatasetData
from slackoff.data.streams import derive_seed
from slackoff.errors import SlackoffError
from slackoff.evaluation import Evaluator, PairFolder
from slackoff.evaluation.test_sets import ImageSet
from slackoff.images import ImageSource, LabelledPairs, Split, cached_bank, split_images
from slackoff.metrics.own_measures import OwnMeasure
from slackoff.metrics.protocol import Protocol
from slackoff.networks.weights import start_from
from slackoff.record.checkpoint import LAST
from slackoff.record.config import read_config
from slackoff.record.origin import done_cell, starting_weights
from slackoff.tasks import Task

T = TypeVar("T")

_KINDS = {"five": "five crops", "whole": "whole images"}
_CURES = {
    "five": "take evaluation=rain100l_crops or rain100h_crops, or set +evaluation.test_set.crops=five",
    "whole": "take pairs without crops, such as evaluation=rain100l evaluation.crop_px=null",
}


class Backgrounds(NamedTuple):
    """An image source and which of its images are for training and for testing."""

    source: ImageSource
    split: Split


def build(node: DictConfig, key: str, **extra: Any) -> Any:
    """Make the object that a config node describes; its ``name``, and those of objects in it, are no arguments.

    Configs also come with records and weight files of other people, so only classes of ``ALLOWED_TARGETS`` are made,
    no other module is imported, and nothing is made before the whole node is known to name no others and to fit them.

    Args:
        node: a node with ``_target_``.
        key: where the node stands in the config, for messages.
        extra: further arguments.

    Raises:
        SlackoffError: an interpolation that leads nowhere, as ``checked_node``, or the object's own refusal.
    """
    return _made(checked_node(plain(node, key), key, extra), key, extra)


def plain(node: DictConfig, key: str = "The config") -> dict[str, Any]:
    """A node as plain values, which can no longer turn into others after they were checked.

    Raises:
        SlackoffError: an interpolation in it leads nowhere, or a value that must be given is missing.
    """
    try:
        found: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise SlackoffError(f"{key} cannot be built: {str(error).splitlines()[0]}") from error
    return found  # type: ignore[no-any-return]


def build_backgrounds(config: DictConfig) -> Backgrounds:
    """The images that ``background`` names, split into training and test images."""
    source = build(config.background.source, "background.source")
    return Backgrounds(source, split_images(source, config.background.held_out))


def build_bank(config: DictConfig, backgrounds: Backgrounds, further: int = 0) -> NDArray[np.uint8]:
    """The patch bank and ``further`` patches after it: uint8, (N, P, P, 3), from the cache under ``runs/banks``."""
    node = config.background
    folder = Path(config.runs) / "banks"
    return cached_bank(
        folder,
        backgrounds.source,
        backgrounds.split.train,
        node.patch_size_px,
        node.patch_count + further,
        node.seed,
        key="runs",
    )


def build_evaluator(config: DictConfig, backgrounds: Backgrounds) -> Evaluator:
    """The test sets with their protocol.

    Raises:
        SlackoffError: as for ``build`` and the sets' ``load``; or the protocol is not for such images.
    """
    node = config.evaluation
    protocol = build(node.protocol, "evaluation.protocol", name=node.protocol.name)
    test_sets = build_test_sets(config)
    for name, test_set in test_sets.items():
        _check_images(protocol, name, test_set)
    images = {name: test_set.load(backgrounds.source, backgrounds.split.test) for name, test_set in test_sets.items()}
    first = next(iter(images))
    return Evaluator(
        first,
        images.pop(first),
        protocol,
        node.quick_count,
        node.picture_count,
        images,
        _own_measures(config, protocol),
    )


def build_validation(config: DictConfig, evaluator: Evaluator) -> Evaluator | None:
    """Measures, by the protocol of the evaluation, on the pairs of ``evaluation.validation``; None without any.

    Raises:
        SlackoffError: the pairs cannot be read, or are among those of a test set.
    """
    if not config.evaluation.get("validation"):
        return None
    pairs = build(config.evaluation.validation, "evaluation.validation")
    if not isinstance(pairs, PairFolder):
        raise SlackoffError(
            "evaluation.validation must be pairs of their own, since other test sets are made of the photos that are "
            "tested on: give +validation=pairs evaluation.validation.root=PATH"
        )
    images = pairs.load(None, [])  # type: ignore[arg-type]
    tested = {image.origin["digest"]: image.name for image in evaluator.images}
    for image in images:
        if (name := tested.get(image.origin["digest"])) is not None:
            raise SlackoffError(
                f"evaluation.validation: {image.name} is the same image as {name} of the test set {evaluator.name}: a "
                "checkpoint is not chosen by what it is tested on, so take it away from one of them"
            )
    return Evaluator("validation", images, evaluator.protocol, len(images), 0, measures=evaluator.measures)


def _own_measures(config: DictConfig, protocol: Protocol) -> list[OwnMeasure]:
    """The figures of ``evaluation.measures``: objects of a class, or functions that are called later."""
    found: list[OwnMeasure] = []
    for name, node in (config.evaluation.get("measures") or {}).items():
        key = f"evaluation.measures.{name}.of"
        values = checked_node(plain(node.of, key), key, kinds=METRIC, call=CALLED_WITH)
        if isinstance(values["_target_"], type):
            of = _made(values, key, {})
        else:
            arguments = {each: item for each, item in values.items() if each not in ("_target_", "name")}
            of = partial(values["_target_"], **_made(arguments, key, {}))
        found.append(OwnMeasure(str(name), of, plain(node, key), [*protocol.columns(), *(own.name for own in found)]))
    return found


def _check_images(protocol: Protocol, name: str, test_set: ImageSet) -> None:
    """A protocol whose name promises whole images, or five crops, gives its name to no others."""
    five = isinstance(test_set, PairFolder) and test_set.crops == "five"
    whole = isinstance(test_set, PairFolder) and test_set.crop_px is None
    if {"any": True, "five": five, "whole": whole}[protocol.images]:
        return
    raise SlackoffError(
        f"The protocol {protocol.name} is for {_KINDS[protocol.images]} of pairs, and the test set {name} has others: "
        f"{_CURES[protocol.images]}"
    )


def build_test_sets(config: DictConfig) -> dict[str, ImageSet]:
    """The test sets by name, the one that is watched during training first."""
    node = config.evaluation
    nodes = {str(node.test_set.get("name", node.name)): (node.test_set, "evaluation.test_set")}
    for name, further in node.get("also", {}).items():
        if str(name) in nodes:
            raise SlackoffError(f"evaluation.also.{name} is the name of the first test set: choose another name")
        nodes[str(name)] = (further, f"evaluation.also.{name}")
    return {name: build(*described) for name, described in nodes.items()}


def build_network(config: DictConfig) -> nn.Module:
    """The network, its weights drawn from the cell's seed."""
    torch.manual_seed(derive_seed(config.seed, "network"))
    return build(config.network, "network")


def nothing_to_train(config: DictConfig) -> bool:
    """Whether the network has no parameters, as a method that works on each image anew; no values are computed."""

    def none_there(device: torch.device) -> bool:
        with device:
            return not any(True for _ in build_network(config).parameters())

    return without_values(config.network, none_there)


def without_values(nodes: Any, look: Callable[[torch.device], T]) -> T:
    """What ``look`` finds on torch's meta device, or on the CPU where a class of another package needs values.

    Args:
        nodes: of the config that the classes come from.
        look: is given the device.
    """
    try:
        return look(torch.device("meta"))
    except (RuntimeError, SlackoffError):
        plain_nodes = OmegaConf.to_container(OmegaConf.create([nodes]), resolve=False)
        if all(target.startswith(("slackoff.", "torch.")) for target in targets_in(plain_nodes)):
            raise
    return look(torch.device("cpu"))


def build_started_network(config: DictConfig) -> nn.Module:
    """The network as training begins with it: as ``build_network``, or with the weights that ``start_from`` names.

    Raises:
        SlackoffError: as for ``build`` and ``slackoff.networks.weights.start_from``.
    """
    network = build_network(config)
    if config.get("start_from"):
        start_from(network, starting_weights(config.start_from, Path(config.runs)))
    return network


def cell_to_continue(config: DictConfig) -> Path:
    """The folder of the done cell ``continue_from``, whose last checkpoint fits the network and regime of this config.

    Raises:
        SlackoffError: there is no such cell, it is not done, it was not trained for fewer steps, it has another
            network, regime or kind of average, or its checkpoint is gone.
    """
    key = f"continue_from={config.continue_from}"
    origin = done_cell(str(config.continue_from), Path(config.runs), "continue_from")
    before, now = read_config(origin), plain(config)
    if (steps := before["schedule"]["steps"]) >= config.schedule.steps:
        raise SlackoffError(
            f"{key}: the cell {origin.name} has {steps} steps already: give schedule.steps more than that, or start "
            "anew from its weights with start_from"
        )
    averages = [each["trainer"].get("ema_decay") is not None for each in (before, now)]
    targets = [each["task"]["_target_"] for each in (before, now)]
    for what, differ in (
        ("network", before["network"] != now["network"]),
        ("task", targets[0] != targets[1]),
        ("trainer.ema_decay", averages[0] != averages[1]),
    ):
        if differ:
            raise SlackoffError(
                f"{key}: the cell {origin.name} has another {what}, which its optimiser's state is for: give the same, "
                "or start anew from its weights with start_from"
            )
    if not (origin / "checkpoints" / LAST).is_file():
        raise SlackoffError(
            f"{key}: the last checkpoint of the cell {origin.name} is gone: start anew from its weights with start_from"
        )
    return origin


def build_task(config: DictConfig, network: nn.Module) -> Task:
    """The training regime around a network.

    Raises:
        SlackoffError: as for ``build``; or unlabelled images for a regime that does not use them.
    """
    task: Task = build(config.task, "task", network=network, steps=config.schedule.steps)
    task.warmup_steps = config.schedule.get("warmup_steps") or 0
    task.clips = config.trainer.get("gradient_clip_norm") is not None
    if config.trainer.get("ema_decay") is not None:
        task.keep_average(config.trainer.ema_decay)
    if config.get("unlabelled") and not task.uses_unlabelled:
        raise SlackoffError(
            f"task={config.task.name} does not use unlabelled images: leave out unlabelled=... or choose "
            "task=semi_supervised"
        )
    return task


def build_training_data(config: DictConfig, backgrounds: Backgrounds) -> RainyData | PairData | DatasetData:
    """All that a cell is trained on: ``labelled`` pairs, from a folder or a data set, or rain on a patch bank, and
    ``unlabelled`` images.

    Raises:
        SlackoffError: images are missing, unreadable or smaller than a patch, or there is no unlabelled one.
    """
    unlabelled = None
    if config.get("unlabelled"):
        unlabelled = partial(_open_unlabelled, config, backgrounds)
    labelled = build_labelled(config)
    if labelled is None:
        return build_data(config, build_bank(config, backgrounds), unlabelled)
    side = config.background.patch_size_px
    if not isinstance(labelled, LabelledPairs):
        return DatasetData(
            labelled, side, config.schedule.batch_size, config.seed, config.trainer.channels_last, unlabelled
        )
    labelled.check(side)
    return PairData(
        labelled.split[0],
        side,
        config.schedule.batch_size,
        config.seed,
        labelled.mirror,
        config.trainer.channels_last,
        unlabelled,
        labelled.crops,
        labelled.notes,
        Path(config.runs) / "banks",
        labelled.memory_gb,
    )


def build_data(config: DictConfig, bank: NDArray[np.uint8], unlabelled: OpenUnlabelled | None = None) -> RainyData:
    """The batch stream over a patch bank."""
    return RainyData(
        bank,
        build(config.rain, "rain"),
        config.schedule.batch_size,
        config.seed,
        config.fixed_rain_per_patch,
        config.trainer.channels_last,
        unlabelled,
    )


def build_labelled(config: DictConfig) -> LabelledPairs | Dataset[Any] | None:
    """The labelled pairs, or a data set that yields them; None where rain is laid over backgrounds."""
    return build(config.labelled, "labelled") if config.get("labelled") else None


def build_surroundings(config: DictConfig, backgrounds: Backgrounds) -> Surroundings:
    """What unlabelled images may be made from."""

    def further_patches(count: int) -> NDArray[np.uint8]:
        try:
            return build_bank(config, backgrounds, count)[config.background.patch_count :]
        except SlackoffError as error:
            raise SlackoffError(
                f"{count} patches for unlabelled.patch_count beside the training bank's: {error}"
            ) from error

    labelled = build_labelled(config)
    folder = labelled if isinstance(labelled, LabelledPairs) else None
    return Surroundings(config.background.patch_size_px, folder, further_patches)


def _open_unlabelled(config: DictConfig, backgrounds: Backgrounds, device: torch.device) -> UnlabelledStream:
    photos = build(config.unlabelled, "unlabelled")
    return UnlabelledStream(
        photos.load(build_surroundings(config, backgrounds)).to(device),
        config.background.patch_size_px,
        photos.batch_size,
        config.seed,
        photos.mirror,
        config.trainer.channels_last,
    )


def _made(value: Any, key: str, extra: dict[str, Any]) -> Any:
    """A value with objects in the place of the nodes in it that have a class; the node itself gets ``extra``, too."""
    if isinstance(value, list):
        return [_made(item, f"{key}[{index}]", {}) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    items = {name: _made(item, f"{key}.{name}", {}) for name, item in value.items()}
    if "_target_" not in items:
        return items
    kind = items.pop("_target_")
    items.pop("name", None)
    if not kind.__module__.startswith(("slackoff.", "torch.")):
        # Arguments may come with a record, and say how a package is to read a file: never as pickled code.
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        return kind(**items | extra)
    except SlackoffError:
        raise
    except Exception as error:
        raise SlackoffError(f"{key} cannot be built: {' '.join(str(error).split())}") from error
