"""How much rain was removed, what it cost the background, and the usual image quality figures.

`functional` is the maths, `protocol` fixes the choices, `columns` says what each figure means; the torchmetrics classes
add up over batches and processes.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slackoff.metrics.metric_classes import BackgroundError, RainRemovalError, RemovalShare

__all__ = ["BackgroundError", "RainRemovalError", "RemovalShare"]


def __getattr__(name: str) -> Any:
    """Load the classes when they are asked for: `slackoff.metrics.columns` is read where there is no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from slackoff.metrics import metric_classes

    return getattr(metric_classes, name)
