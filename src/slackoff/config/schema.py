"""What a cell's config may say, key by key, and which of that is part of the cell's identity; what launchers share.

A key is part of the identity if and only if it can change the result: the initial weights, the batches, the losses, or
what is measured. Each key counts unless it is marked here as one that cannot. Plain types only: the driver of a sweep
reads this without importing torch.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict, get_args, get_origin, get_type_hints


class Uncounted(Enum):
    """Why a key is no part of the identity."""

    LABEL = "a name for people"
    PLACE = "where something lies; its content counts by a digest"
    EXECUTION = "how the work is done and written down"
    REFERENCE = "a value that other keys refer to; it counts where it is used"


LABEL, PLACE, EXECUTION, REFERENCE = Uncounted


@dataclass(frozen=True)
class Limit:
    """What a value must be beside being of its type, and that in words, as they stand behind those of the type."""

    holds: Callable[[Any], object]
    words: str


class AtLeast(Limit):
    """The smallest value of a number."""

    def __init__(self, least: int) -> None:
        super().__init__(lambda value: value >= least, f"from {least} up")


@dataclass(frozen=True)
class Builds:
    """A node with a ``_target_``.

    Beside a ``_target_``, ``name`` is a label at every depth: it is no argument of what is built.

    Args:
        kinds: dotted names of the classes or protocols of which the target must be one; none for any.
        given: arguments that the code adds to those of the node.
        uncounted: keys of the node, dotted and ``*`` for any, that are no part of the identity: places whose content
            has a digest, and ``key``, the config key that error messages name.
        name_counts: whether the node's own ``name`` stands in the results.
        call: names of what a function in the place of the class is called with later, where there may be one.
    """

    kinds: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()
    name_counts: bool = False
    call: tuple[str, ...] = ()


_SOURCE = ("root", "key")
_PAIRS = (*_SOURCE, "rainy", "clean", "pairs", "memory_gb")
_RAIN = ("slackoff.rain.RainRange", "slackoff.rain.ThinRain", "slackoff.rain.OwnRain")

KEEP_BEST = "schedule.keep_best"

Node = dict[str, Any]
Count = Annotated[int, AtLeast(1)]
Positive = Annotated[float, Limit(lambda value: value > 0, "above 0")]
Decay = Annotated[float, Limit(lambda value: 0 <= value < 1, "from 0 to below 1")]
ImageSource = Annotated[Node, Builds(("slackoff.images.ImageSource",), uncounted=_SOURCE)]
Network = Annotated[Node, Builds(("torch.nn.Module",))]
Rain = Annotated[Node, Builds(_RAIN, uncounted=("key",))]
Task = Annotated[Node, Builds(("slackoff.tasks.Task",), ("network", "steps"), ("terms.*.root", "terms.*.key"))]
TestSet = Annotated[
    Node,
    Builds(
        ("slackoff.evaluation.test_sets.ImageSet",),
        uncounted=(*_PAIRS, "rain.key", "backgrounds.root", "backgrounds.key"),
        name_counts=True,
    ),
]
Protocol = Annotated[Node, Builds(("slackoff.metrics.protocol.Protocol",))]
Labelled = Annotated[
    Node,
    Builds(
        ("slackoff.images.LabelledPairs", "torch.utils.data.Dataset"),
        uncounted=(*_PAIRS, "leave_out.root", "leave_out.key"),
    ),
]
Unlabelled = Annotated[Node, Builds(("slackoff.data.unlabelled.UnlabelledPhotos",), uncounted=(*_SOURCE, "rain.key"))]
Measurement = Annotated[Node, Builds()]


METRIC, CALLED_WITH = ("torchmetrics.Metric",), ("output", "clean", "rainy")
MeasuredImages = Annotated[Node, Builds(METRIC, call=CALLED_WITH)]


class OwnMeasure(TypedDict):
    """A figure per image beside those of the protocol, see ``slackoff.metrics.own_measures``."""

    of: MeasuredImages
    label: NotRequired[Annotated[str, LABEL]]
    unit: NotRequired[Annotated[str, LABEL]]
    better: NotRequired[Annotated[Literal["higher", "lower"], LABEL]]
    explanation: NotRequired[Annotated[str, LABEL]]


class Background(TypedDict):
    """Photos and the patches that are cut from them."""

    name: Annotated[str, LABEL]
    root: NotRequired[Annotated[str | None, PLACE]]
    source: ImageSource
    held_out: float | int | None
    patch_count: Count
    patch_size_px: Count
    seed: int


class Evaluation(TypedDict):
    """What a cell is tested on, and how. Names of test sets stand in the results: they count."""

    name: str
    root: NotRequired[Annotated[str | None, PLACE]]
    rainy: NotRequired[Annotated[str | None, PLACE]]
    clean: NotRequired[Annotated[str | None, PLACE]]
    pairs: NotRequired[Annotated[str | None, PLACE]]
    count: NotRequired[Annotated[Count | None, REFERENCE]]
    crop_px: NotRequired[Annotated[Count | None, REFERENCE]]
    held_out: NotRequired[Annotated[float | int | None, REFERENCE]]
    pair_count: NotRequired[Annotated[Count | None, REFERENCE]]
    counts: NotRequired[Annotated[Node, REFERENCE]]
    crops_px: NotRequired[Annotated[Node, REFERENCE]]
    quick_count: Count
    picture_count: Annotated[int, AtLeast(0)]
    test_set: TestSet
    also: NotRequired[dict[str, TestSet]]
    validation: NotRequired[TestSet]
    protocol: Protocol
    measures: NotRequired[dict[str, OwnMeasure]]


class Schedule(TypedDict):
    """How long a cell is trained. ``evaluate_every`` counts: the record has a value for each evaluation, and a network
    may learn from what it is shown (MOSS's ``memory_update_in_eval``).

    ``warmup_steps``: over so many steps the rate rises in a line to what it is without a warm-up. ``keep_best``: the
    measure on ``evaluation.validation`` by which the best checkpoint is chosen.
    """

    steps: Annotated[int, AtLeast(0)]
    learning_rate: Annotated[float, REFERENCE]
    warmup_steps: NotRequired[Annotated[int, AtLeast(0)] | None]
    keep_best: NotRequired[str | None]
    batch_size: Count
    evaluate_every: Count
    checkpoint_every: Annotated[Count, EXECUTION]
    log_every: Annotated[Count, EXECUTION]


class Trainer(TypedDict):
    """The arithmetic of a step. ``ranks`` is set by the launcher where several processes train a cell
    (``gpus_per_cell``).

    ``gradient_clip_norm``: the largest 2-norm of the gradient of all that is trained. ``ema_decay``: of a moving
    average of the weights, which is measured beside the network.
    """

    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    tf32: bool
    channels_last: bool
    gradient_clip_norm: NotRequired[Positive | None]
    ema_decay: NotRequired[Decay | None]
    accelerator: Annotated[Literal["auto", "cpu", "gpu"], EXECUTION]
    ranks: NotRequired[Count]


class NetworkCost(TypedDict, total=False):
    """How long the networks of a study are timed, as in ``slackoff.measurements.runtime.NetworkCostMeasurement``."""

    size_px: Annotated[int, AtLeast(16)]
    rounds: Count
    budget_s: float


class Options(TypedDict, total=False):
    """How a study is drawn."""

    balance_margin: float
    joined_test_sets: dict[str, list[str]]
    distributions: list[str] | None
    cost: NetworkCost


class Study(TypedDict):
    """The question that cells belong to."""

    name: str
    title: str
    question: str
    paper: str
    axis: str
    variant: str | int | float
    test_sets: list[str]
    options: Options
    claims: list[str]
    cells: NotRequired[Node]
    sizes: NotRequired[Node]
    manifest: NotRequired[str | None]
    zip: NotRequired[list[str] | list[list[str]]]
    skip: NotRequired[list[Node]]
    objective: NotRequired[str | list[str] | dict[str, Literal["maximize", "minimize"]] | None]
    prune_below: NotRequired[float | None]
    prune_above: NotRequired[float | None]
    prune_from: NotRequired[Annotated[int, AtLeast(0)]]
    manifests: NotRequired[Node]
    measure: NotRequired[Measurement]


class Logger(TypedDict):
    """W&B beside the record."""

    wandb: bool
    project: str


class Config(TypedDict):
    """A cell's resolved config."""

    seed: int
    fixed_rain_per_patch: bool
    background: Background
    rain: Rain
    network: Network
    task: Task
    trainer: Trainer
    evaluation: Evaluation
    schedule: Schedule
    labelled: NotRequired[Labelled]
    unlabelled: NotRequired[Unlabelled]
    start_from: NotRequired[Annotated[str | None, PLACE]]
    continue_from: NotRequired[Annotated[str | None, PLACE]]
    runs: Annotated[str, PLACE]
    data_root: Annotated[str, PLACE]
    roots: Annotated[dict[str, str | None], PLACE]
    size: Annotated[str, LABEL]
    study: Annotated[Study, LABEL]
    logger: Annotated[Logger, EXECUTION]


@dataclass(kw_only=True)
class Policy:
    """What a sweep does about cells that fail, hang or belong to others: settings of every launcher.

    Args:
        on_failure: ``continue`` with the others, or ``stop_after=K``: end the sweep, in order, after K failed cells.
        max_attempts: how often this command tries a cell that fails.
        time_limit_h: hours after which a cell counts as hanging; None for no limit.
        grace_s: seconds that a cell over its limit has to write a checkpoint and end by itself.
        stale_after_s: seconds without a heartbeat after which a cell of another machine counts as dead.
    """

    on_failure: (
        Literal["continue"]
        | Annotated[str, Limit(re.compile(r"stop_after=0*[1-9]\d*").fullmatch, "such as 'stop_after=3', in quotes")]
    ) = "continue"
    max_attempts: Count = 1
    time_limit_h: Positive | None = None
    grace_s: Positive = 60.0
    stale_after_s: Positive = 180.0

    @property
    def stop_after(self) -> int | None:
        """So many failed cells end the sweep; None: it goes on."""
        return int(self.on_failure.partition("=")[2] or 0) or None


@cache
def types_of(kind: type) -> dict[str, Any]:
    """The types of the keys of a ``TypedDict``, with their marks."""
    return get_type_hints(kind, include_extras=True)


def without_marks(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without ``Annotated`` and ``NotRequired`` around it, and the marks that ``Annotated`` gave it."""
    marks: tuple[Any, ...] = ()
    while get_origin(hint) in (Annotated, NotRequired, Required):
        hint, *said = get_args(hint)
        marks += tuple(said)
    return hint, marks
