"""How much rain was removed, what it cost the background, and the usual image quality figures.

`functional` is the maths, `protocol` fixes the choices, `columns` says what each figure means; the torchmetrics classes
add up over batches and processes.

    removed = RainRemovalError()
    removed.update(output, background, rain, rainy)   # as often as there are batches, float, in [0, 1]
    removed.compute()                                 # E_R in grey levels
    psnr(output, background)                          # dB, one for each image
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slackoff.metrics.functional import psnr, rain_from_pair, ssim
    from slackoff.metrics.metric_classes import BackgroundError, RainRemovalError, RemovalShare

__all__ = ["BackgroundError", "RainRemovalError", "RemovalShare", "psnr", "rain_from_pair", "ssim"]


def __getattr__(name: str) -> Any:
    """Load what is asked for: `slackoff.metrics.columns` is read where there is no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "functional" if name in ("psnr", "rain_from_pair", "ssim") else "metric_classes"
    return getattr(import_module(f"slackoff.metrics.{module}"), name)
