"""Derain the photos of a plan, one after the other: what fails is told, and the others go on."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from slackoff.deraining.folder import Job, Plan
from slackoff.deraining.model import Model, provenance
from slackoff.deraining.photos import read_photo, write_photo
from slackoff.deraining.tiles import Tiling, derain_array
from slackoff.errors import SlackoffError
from slackoff.networks.per_image import PerImageMethod


@dataclass
class Outcome:
    """The jobs that were done, those whose result was there and was kept, and a sentence for each that failed."""

    done: list[Job] = field(default_factory=list)
    kept: list[Job] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def results(self) -> list[Job]:
        """The jobs whose results are there, done now or before."""
        return self.done + self.kept

    def summary(self) -> str:
        """The end of a run in one line."""
        parts = [f"{len(self.done)} derained in {self.seconds:.1f} s"]
        if self.kept:
            parts.append(f"{len(self.kept)} were there already and kept (--overwrite writes them again)")
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        return "; ".join(parts)


def derain_jobs(model: Model, plan: Plan, tiling: Tiling, overwrite: bool, console: Console) -> Outcome:
    """Derain all photos of a plan.

    Args:
        model: on the device of choice.
        plan: the photos; its failures are told first.
        tiling: how photos are cut.
        overwrite: write results that are there anew.
        console: where the progress is shown; sentences of failures go to standard error.
    """
    outcome = Outcome()
    start = time.monotonic()
    with _progress(console) as progress:
        tell = partial(_tell, progress)
        for sentence in plan.failures:
            _fail(outcome, sentence, tell)
        todo: list[Job] = []
        for job in plan.jobs:
            (todo if overwrite or not job.target.is_file() else outcome.kept).append(job)
        bar = progress.add_task("derain", total=len(todo))
        for number, job in enumerate(todo):
            try:
                notes = _derain(model, job, tiling, partial(progress.advance, bar))
            except SlackoffError as error:
                _fail(outcome, str(error), tell)
            except OSError as error:
                _fail(outcome, f"{error.filename or job.target} cannot be used ({error.strerror or error})", tell)
            except RuntimeError as error:  # the memory of a GPU, or of the machine, does not do
                smaller = "photo" if isinstance(model.network, PerImageMethod) else "--tile"
                _fail(outcome, f"{job.source} cannot be derained ({_short(error)}): try a smaller {smaller}", tell)
            else:
                outcome.done.append(job)
                for note in notes:
                    tell(f"{job.source}: {note}")
            progress.update(bar, completed=number + 1)
    outcome.seconds = time.monotonic() - start
    return outcome


def _derain(model: Model, job: Job, tiling: Tiling, advance: Callable[[float], object]) -> tuple[str, ...]:
    photo = read_photo(job.source)
    write_photo(photo, derain_array(model, photo.pixels, tiling, advance), job.target, provenance(model))
    return photo.notes


def _fail(outcome: Outcome, sentence: str, tell: Callable[[str], None]) -> None:
    outcome.failures.append(sentence)
    tell(f"error: {sentence}")


def _tell(progress: Progress, sentence: str) -> None:
    """Print a sentence on standard error, above the bar."""
    if progress.console.is_terminal:
        progress.console.print(sentence, soft_wrap=True, markup=False, highlight=False)
    else:
        print(sentence, file=sys.stderr)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


class _Rate(ProgressColumn):
    """Images a second, or seconds an image where that is the larger number."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f} images/s" if speed >= 1 else f"{1 / speed:.1f} s/image")


def _progress(console: Console) -> Progress:
    done = TextColumn("{task.completed:.1f} of {task.total:.0f}")
    return Progress(BarColumn(), done, _Rate(), TimeRemainingColumn(), console=console, transient=True)
