"""A word that an argument does not know is refused by the config's check and by the class itself."""

import inspect
from typing import Any, Literal, get_args, get_origin

import pytest
from torch import nn

from slackoff import data, evaluation, images, losses, metrics, networks, rain, tasks
from slackoff.config.validate import check_arguments, parameters
from slackoff.data import streams
from slackoff.errors import SlackoffError
from slackoff.measurements import complexity
from slackoff.metrics import protocol

ROOMS = (complexity, data, evaluation, images, losses, metrics, networks, protocol, rain, streams, tasks)
NEEDED = {
    "backgrounds": None, "categories": {"one": None}, "images": None, "pairs": [], "network": nn.Identity(),
    "root": "nowhere", "steps": 9, "patch_size_px": 8, "batch_size": 1, "seed": 0, "quantity": (200, 300),
    "length": (20, 30), "angle_deg": (0, 0), "width": (5,),
}  # fmt: skip
"""What the classes want beside their choices."""


def choices() -> dict[str, tuple[type, str, Any]]:
    """Every argument of a public class that lists its choices, by its dotted name; and the list."""
    named = [getattr(room, name) for room in ROOMS for name in getattr(room, "__all__", dir(room))]
    found = {}
    for kind in dict.fromkeys(each for each in named if inspect.isclass(each)):
        if not kind.__module__.startswith("slackoff.") or issubclass(kind, (Exception, tuple)):
            continue
        for name, hint in parameters(kind).types.items():
            if Literal in (get_origin(hint), *map(get_origin, get_args(hint))):
                found[f"{kind.__name__}.{name}"] = kind, name, hint
    return found


CHOICES = choices()


def test_all_rooms_are_searched():
    some = ["SwinIR.residual_conv", "Texture.kind", "SemiSupervisedTask.teacher_buffers", "Protocol.channel"]
    some += ["RainRange.width", "LabelledPairs.crops", "RemovalShare.average", "PairFolder.crops", "PairStream.crops"]
    assert set(some) <= set(CHOICES)


@pytest.mark.parametrize("name", CHOICES)
def test_a_word_that_an_argument_does_not_know_is_refused(name):
    kind, argument, hint = CHOICES[name]
    listed = get_origin(hint) is not Literal
    wrong = ["other"] if listed else "other"
    known = ", ".join(map(str, get_args(get_args(hint)[0] if listed else hint)))
    given = {need: NEEDED[need] for need in parameters(kind).required if need in NEEDED} | {argument: wrong}
    with pytest.raises(SlackoffError, match=rf"{argument}=other is not known: choose one of {known}"):
        kind(**given)
    with pytest.raises(SlackoffError, match=rf"^here.{argument}=\[?other\]? .*{known}"):
        check_arguments(kind, {argument: wrong}, "here")
