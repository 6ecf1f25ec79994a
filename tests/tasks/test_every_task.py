"""What every task promises: recorded losses, a resume that is bit-equal, one sentence for a wrong setting."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small_problem import (
    GOLDEN,
    Gated,
    InDouble,
    Outputs,
    Pixel,
    SaveAt,
    golden_losses,
    network,
    semi_supervised,
    sirr,
    syn2real,
    three_terms,
    train,
)

from slackoff.errors import SlackoffError
from slackoff.losses import L1, DynamicWeightAverage, GradientBalancing, GradNorm, PCGrad, Uncertainty
from slackoff.networks import DDN
from slackoff.tasks import MultitaskTask, SupervisedTask


def multitask(weighting, net=None, terms=None, **options):
    return MultitaskTask(net or network(), three_terms() if terms is None else terms, weighting, 8, 2e-3, **options)


RESUMED = {
    "supervised": (lambda: SupervisedTask(Gated(), L1(), 8, learning_rate=2e-3), [5]),
    "uncertainty": (lambda: multitask(Uncertainty()), [3]),
    "gradnorm": (lambda: multitask(GradNorm(log_weights=True)), [3]),
    "dwa": (lambda: multitask(DynamicWeightAverage(window=1)), [3]),
    "pcgrad": (lambda: multitask(PCGrad()), [3]),
    "semi_supervised": (
        lambda: semi_supervised(Gated()),
        [2, 4, 5, 7],
    ),  # around the switch
    "sirr": (lambda: sirr(DDN(channels=4, pairs=1, norm="batch")), [3]),
    "sirr_own_norms": (lambda: sirr(DDN(channels=4, pairs=1, norm="batch"), shared_norm=False), [3]),
    "syn2real": (syn2real, [2]),
}


@pytest.mark.parametrize(("name", "stop"), [(name, stop) for name, (_, stops) in RESUMED.items() for stop in stops])
def test_a_resumed_run_ends_bit_by_bit_as_an_undisturbed_one(tmp_path, name, stop):
    torch.manual_seed(1)
    whole = RESUMED[name][0]()
    going_on, start = copy.deepcopy(whole), copy.deepcopy(whole.state_dict())
    before, after = Outputs(), Outputs()
    save = SaveAt(tmp_path / "stopped.ckpt", stop)
    undisturbed, first = train(whole, 8, unlabelled=3, save=save, callbacks=(before,))
    resumed, second = train(
        going_on, 8, unlabelled=3, callbacks=(after,), ckpt_path=tmp_path / "stopped.ckpt", weights_only=True
    )
    assert resumed.numbers == list(range(stop, 8))
    assert resumed.losses == undisturbed.losses[stop:]
    assert after.seen == before.seen[stop:]
    found = going_on.state_dict()
    assert found.keys() == whole.state_dict().keys()
    for key, value in whole.state_dict().items():
        assert torch.equal(value, found[key]), key
    assert any(not torch.equal(value, found[key]) for key, value in start.items() if key in found)
    states = [run.optimizers[0].state.values() for run in (first, second)]
    for a, b in zip(*states, strict=True):
        assert all(torch.equal(torch.as_tensor(a[key]), torch.as_tensor(b[key])) for key in a)
    if name in ("uncertainty", "gradnorm", "dwa"):
        assert any(key.startswith("weighting.") for key in found)
        assert after.seen[0]["weight/pixel"] != before.seen[0]["weight/pixel"]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_losses_are_the_recorded_ones_and_fall(name):
    """In float64, so they are the same on all machines to a share of about 1e-7. A change of the batches, the
    network's start, the loss or the optimiser shows here. Written by: python tests/tasks/small_problem.py NAME >
    tests/tasks/golden/NAME.txt
    """
    recorded = np.loadtxt(Path(__file__).parent / "golden" / f"{name}.txt")
    found = golden_losses(name)
    np.testing.assert_allclose(found, recorded, rtol=1e-4)
    if name == "supervised":
        assert np.mean(found[-10:]) < 0.85 * np.mean(found[:10])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (semi_supervised, "no unlabelled images: name a folder of rainy photos with unlabelled=fol"),
        (sirr, "task=sirr has no unlabelled images: "),
        (syn2real, r"task=syn2real has no unlabelled images: .*task\.gp_weight=0"),
    ],
)
def test_without_photos_a_task_that_needs_them_says_what_to_give(make, sentence):
    with pytest.raises(SlackoffError, match=sentence) as refused:
        train(make(), 8)
    assert "unlabelled=folder" in str(refused.value)


def gradient_balancing(**options):
    return multitask(GradientBalancing(), **options)


@pytest.mark.parametrize(
    ("make", "options", "sentence"),
    [
        (semi_supervised, {"supervised": "8steps"}, "task.supervised takes 8 of the 8 steps and leaves none for self"),
        (semi_supervised, {"teacher_decay": 1.5}, "task.teacher_decay=1.5 must lie between 0 and 1"),
        (semi_supervised, {"tv_weight": -1.0}, "task.tv_weight=-1.0 must be a finite weight"),
        (semi_supervised, {"labelled_weight": math.nan}, "task.labelled_weight=nan must be a finite weight"),
        (semi_supervised, {"mixing_strength": (1.0, 0.5)}, "task.mixing_strength=[1.0, 0.5] must be [low, high]"),
        (sirr, {"components": 0}, "task.components=0 must be at least 1"),
        (sirr, {"mixture_weight": -1.0}, "task.mixture_weight=-1.0 must be a finite weight"),
        (sirr, {"tv_weight": math.nan}, "task.tv_weight=nan must be a finite weight"),
        (syn2real, {"net": network()}, "task=syn2real compares latents, and UNet gives none: choose network=syn2real"),
        (syn2real, {"neighbours": 7}, "task.neighbours=7 must be at least 1 and at most task.bank_size=6"),
        (syn2real, {"noise": 0.0}, "task.noise=0.0 must be a finite variance above 0"),
        (syn2real, {"gp_weight": -1.0}, "task.gp_weight=-1.0 must be a finite weight"),
        (syn2real, {"term_weight": math.nan}, "task.term_weight=nan must be a finite weight"),
        (
            gradient_balancing,
            {"shared_layer": "tail.2"},
            "task.shared_layer=tail.2 is no module of UNet, whose last modules are encoder, up",
        ),
        (
            gradient_balancing,
            {"shared_layer": "decoder.0.1"},
            "task.shared_layer=decoder.0.1 of UNet has no weight that is trained: name a",
        ),
        (
            gradient_balancing,
            {"net": InDouble(network())},
            "InDouble does not name its shared layer: say which one it is with task.sha",
        ),
        (gradient_balancing, {"terms": {}}, "task.terms is empty: name at least one loss term"),
        *(
            (gradient_balancing, {"terms": {name: Pixel(), "b": Pixel()}}, f"task.terms.{name} is no name: use lower-c")
            for name in ("Pixel", "pop")
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(make, options, sentence):
    with pytest.raises(SlackoffError) as refused:
        make(**options)
    assert str(refused.value).startswith(sentence)
    assert len(str(refused.value).splitlines()) == 1
