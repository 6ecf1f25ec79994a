import math

import pytest
import torch

from slackoff.networks.sparse_coding import across_streaks, rain_scores, split_atoms


def stripes(angle: float, size: int, period: float = 6.0) -> torch.Tensor:
    """A wave whose values change in a direction of so many radians from the horizontal, downwards."""
    down, right = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (2 * math.pi / period * (right * math.cos(angle) + down * math.sin(angle))).sin()


@pytest.mark.parametrize("degrees", [-40, -20, 0, 10, 33])
def test_the_direction_across_streaks_is_found_beside_a_horizon(degrees):
    detail = stripes(math.radians(degrees), 96, period=20.0)
    detail[40:] += 5 * (torch.arange(96) >= 0)  # a strong horizontal edge is no rain
    assert math.degrees(across_streaks(detail)) == pytest.approx(degrees, abs=2.6)


def test_atoms_of_the_streaks_direction_score_highest():
    across = math.radians(15)
    waves = [stripes(math.radians(degrees), 16) for degrees in (15, 60, -75)]
    weak = stripes(across, 16, period=30.0)
    atoms = torch.stack([wave - wave.mean() for wave in (*waves, weak)]).flatten(1)
    atoms /= atoms.norm(dim=1, keepdim=True)
    scores = rain_scores(atoms, 16, across)
    expected = [math.cos(math.radians(degrees - 15)) ** 2 for degrees in (15, 60, -75)]
    assert scores[0] > 0.9
    assert (scores[:3] / scores[0]).tolist() == pytest.approx(expected, abs=0.08)
    assert scores[3] < 0.4 * scores[0]
    background, rain = split_atoms(atoms, 16, across, 1)
    assert torch.equal(rain, atoms[:1])
    assert torch.equal(background, atoms[1:])
