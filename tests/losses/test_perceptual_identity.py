"""The weights of the VGG-19 loss count for the identity of a cell, their place and format do not."""

import pytest
import torch
from omegaconf import OmegaConf
from torchvision.models import vgg19

from slackoff.errors import SlackoffError
from slackoff.sweep.identity import Fingerprints, cell_id


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return vgg19(weights=None).features.state_dict(prefix="features.")


@pytest.fixture
def identity(composed):
    """Of a cell with the VGG-19 loss, the weights at the given place."""

    def of(place):
        config = composed("+terms@task.terms=pixel_vgg", f"roots.vgg19={place}")
        plain = OmegaConf.to_container(config, resolve=True)
        return cell_id(plain, Fingerprints().of(plain))

    return of


def test_it_follows_the_weights_and_not_the_file(identity, weights, tmp_path):
    torch.save(weights, tmp_path / "vgg19-dcbb9e9d.pth")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(weights | {"features.0.bias": weights["features.0.bias"] + 1}, tmp_path / "other.pth")
    first = identity(tmp_path)
    assert identity(tmp_path / "old.pth") == first
    assert identity(tmp_path / "other.pth") != first


def test_weights_that_are_missing_are_a_problem_of_the_sweep(composed, tmp_path):
    plain = OmegaConf.to_container(composed("+terms@task.terms=pixel_vgg", f"data_root={tmp_path}"), resolve=True)
    with pytest.raises(SlackoffError, match=r"weights of VGG-19 are not on disk"):
        Fingerprints().of(plain)
    looking = Fingerprints(missing_allowed=True)
    assert looking.provisional(looking.of(plain))
