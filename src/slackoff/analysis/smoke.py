"""What is said and drawn where numbers mean nothing: a study of smoke size trains and measures next to nothing."""

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WARNING = "Smoke size: this shows that everything runs. Its numbers mean nothing; size=laptop gives a result."


def is_smoke(size: str) -> bool:
    """Whether a study of this size is none to learn anything from."""
    return size == "smoke"


def warn(size: str, console: Console) -> None:
    """Print the warning for a study of smoke size; nothing for another."""
    if is_smoke(size):
        console.print(WARNING, style="bold black on yellow", highlight=False, soft_wrap=True)


def mark(figure: "Figure") -> None:
    """Write across a figure that it shows no result, so that it cannot be taken for one elsewhere."""
    figure.text(
        0.5, 0.5, "smoke size: no result", ha="center", va="center", rotation=20, fontsize=40, color="0.5", alpha=0.35
    )
