import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from slackoff.networks.sparse_coding import unblend, update_layer


@pytest.mark.parametrize("weight", [0.01, 1.0, 3.0])
def test_updates_are_the_minimisers_over_the_unit_interval(weight):
    draw = np.random.default_rng(0).uniform
    observed, other, coded = draw(0, 1, 60), draw(0, 1, 60), draw(-1, 2, 60)
    found = update_layer(*(torch.from_numpy(values) for values in (observed, other, coded)), weight).numpy()
    for o, b, c, r in zip(observed, other, coded, found, strict=True):

        def cost(x: float, o=o, b=b, c=c) -> float:
            return (o - (b + x - b * x)) ** 2 + weight * (x - c) ** 2

        best = minimize_scalar(cost, bounds=(0, 1), method="bounded", options={"xatol": 1e-10})
        nearest = min((0.0, 1.0, best.x), key=cost)
        assert r == pytest.approx(nearest, abs=1e-6)


def test_unblended_layers_blend_to_the_image():
    grid = torch.linspace(0, 1, 41, dtype=torch.float64)
    observed, rain = (values.contiguous() for values in torch.meshgrid(grid, grid, indexing="ij"))
    background, kept = unblend(observed, rain)
    torch.testing.assert_close(background + kept - background * kept, observed, atol=1e-12, rtol=0)
    assert background.min() >= 0
    assert background.max() <= 1
    assert torch.equal(kept, rain.minimum(observed).clamp(max=0.999))
