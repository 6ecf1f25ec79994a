import pytest
import torch
import torch.nn.functional as F
from torchvision.models import vgg16

from slackoff.errors import SlackoffError
from slackoff.losses import VGG16Features

RELUS = (3, 8, 15)
"""Places of relu1_2, relu2_2 and relu3_3 in torchvision's features."""


@pytest.fixture(scope="module")
def features():
    torch.manual_seed(3)
    with torch.device("meta"):
        network = vgg16(weights=None).features[: RELUS[-1] + 1]
    network = network.to_empty(device="cpu")
    for layer in network:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
            torch.nn.init.normal_(layer.bias, std=0.05)
    return network


@pytest.fixture
def root(features, tmp_path):
    torch.save(features.state_dict(prefix="features."), tmp_path / "vgg16-397923af.pth")
    return tmp_path


def test_it_is_the_mean_error_of_three_layers_of_torchvision(features, root):
    output, background = torch.rand(2, 2, 3, 18, 21)
    term = VGG16Features(str(root))
    errors = [F.mse_loss(features[: place + 1](output), features[: place + 1](background)) for place in RELUS]
    assert [type(features[place]).__name__ for place in RELUS] == ["ReLU"] * 3
    assert term(output, background).item() == pytest.approx(sum(errors).item() / 3, rel=1e-5)
    assert list(term.parameters()) == []
    assert term.state_dict() == {}
    assert len(term.fingerprint()) == 64


def test_weights_that_are_absent_or_of_vgg19_are_refused(features, root, tmp_path):
    with pytest.raises(
        SlackoffError, match=r"weights of VGG-16 are not on disk .* vgg16-397923af\.pth .* roots\.vgg16="
    ):
        VGG16Features(str(tmp_path / "other"))
    tensors = features.state_dict(prefix="features.")
    nineteen = tensors | {"features.16.weight": torch.zeros(256, 256, 3, 3), "features.16.bias": torch.zeros(256)}
    torch.save(nineteen, root / "vgg16-397923af.pth")
    with pytest.raises(SlackoffError, match=r"holds the weights of VGG-19: VGG-16 is needed"):
        VGG16Features(str(root))
    tensors.pop("features.14.bias")
    torch.save(tensors, root / "vgg16-397923af.pth")
    with pytest.raises(SlackoffError, match=r"no features\.14\.bias of shape \(256,\): it must be VGG-16"):
        VGG16Features(str(root))
