"""Measures of a person's own: a figure per image from a plain function or a torchmetrics class.

In a config::

    evaluation:
      measures:
        edge_error:                                # the name of its column
          of: {_target_: mylab.measures.edge_error}  # of (output, clean, rainy), as far as it names them
          better: lower
          unit: grey levels

Images are as the protocol measures them: float32, (1, 3, H, W), in [0, 1], rounded to 8 bit where it rounds.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from slackoff.errors import SlackoffError, one_line
from slackoff.metrics.columns import Better, Column, check_own_name

KEY = "evaluation.measures"


class OwnMeasure:
    """One figure per image.

    ``column`` says what it is called and what it is good for.

    Args:
        name: of its column.
        of: a torchmetrics class's object, updated with (output, clean), and ``rainy`` where it takes that name; or a
            function that takes some of ``output``, ``clean`` and ``rainy`` by these names and gives a number.
        about: ``label``, ``unit``, ``better`` and ``explanation`` of its column, as far as they are given.
        known: names that columns have already.

    Raises:
        SlackoffError: the name is taken, or cannot be one.
    """

    def __init__(
        self, name: str, of: Metric | Callable[..., Any], about: Mapping[str, Any], known: Collection[str] = ()
    ) -> None:
        check_own_name(name, known, f"{KEY}.{name}")
        self.name = name
        self.of = of
        higher = getattr(of, "higher_is_better", None)
        better: Better | None = about.get("better") or {True: "higher", False: "lower"}.get(higher)  # type: ignore
        made = of.func if isinstance(of, partial) else type(of) if isinstance(of, Metric) else of
        said = (inspect.getdoc(made) or "").partition("\n")[0]
        self.column = Column(
            str(about.get("label") or name.replace("_", " ").capitalize()),
            str(about.get("unit") or ""),
            better,
            str(about.get("explanation") or said or f"{made.__module__}.{made.__qualname__}"),
        )

    @torch.no_grad()
    def of_image(self, output: Tensor, clean: Tensor, rainy: Tensor) -> float:
        """The figure of one image: (1, 3, H, W) each, in [0, 1].

        Raises:
            SlackoffError: the code of the person fails, or gives no number.
        """
        images = {"output": output, "clean": clean, "rainy": rainy}
        try:
            if isinstance(self.of, Metric):
                metric = self.of.to(output.device)
                metric.reset()
                further = {"rainy": rainy} if "rainy" in inspect.signature(metric.update).parameters else {}
                metric.update(output, clean, **further)
                value = metric.compute()
            else:
                takes = inspect.signature(self.of).parameters
                open_ = any(each.kind is each.VAR_KEYWORD for each in takes.values())
                value = self.of(**{name: image for name, image in images.items() if open_ or name in takes})
        except Exception as error:  # the code of a person, in which anything may go wrong
            raise SlackoffError(f"{KEY}.{self.name} fails: {type(error).__name__}: {one_line(error)}") from error
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError):
            shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
            raise SlackoffError(
                f"{KEY}.{self.name} gives a {type(value).__name__}{shape} for an image: let it give one number"
            ) from None
