"""Networks of other packages, unmodified, behind ForeignNetwork: timm, deepinv, and one as BasicSR's are written."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor, nn

from slackoff.cli.network_check import check_network
from slackoff.config import build
from slackoff.config.packages import VARIABLE
from slackoff.errors import SlackoffError
from slackoff.networks import ForeignNetwork


class Spy(nn.Module):
    """Gives what it is told of its input, and keeps that."""

    def __init__(self, give: Any = lambda images: images) -> None:
        super().__init__()
        self.give = give

    def forward(self, images: Tensor, **arguments: Any) -> Any:
        self.seen, self.arguments = images, arguments
        return self.give(images)


class DownAndUp(nn.Module):
    """As the super-resolution networks of BasicSR: num_in_ch, num_out_ch, num_feat, no padding of its own."""

    def __init__(self, num_in_ch: int, num_out_ch: int, num_feat: int = 8, num_block: int = 2) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(num_in_ch * 16, num_feat, 3, 1, 1)
        self.body = nn.Sequential(*[nn.Conv2d(num_feat, num_feat, 3, 1, 1) for _ in range(num_block)])
        self.conv_last = nn.Conv2d(num_feat, num_out_ch * 16, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(negative_slope=0.1, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        feat = self.lrelu(self.conv_first(F.pixel_unshuffle(x, 4)))
        return F.pixel_shuffle(self.conv_last(self.body(feat)), 4)


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_values_are_scaled_there_and_back(value_range: tuple[float, float]):
    spy, rainy = Spy(), torch.rand(2, 3, 8, 8)
    assert torch.allclose(ForeignNetwork(spy, value_range)(rainy), rainy, atol=1e-6)
    low, high = value_range
    assert torch.allclose(spy.seen, low + (high - low) * rainy)
    rain = ForeignNetwork(Spy(lambda images: torch.full_like(images, high - low)), value_range, residual=True)
    assert torch.allclose(rain(rainy), rainy + 1)


@pytest.mark.parametrize("size", [(8, 8), (9, 15), (3, 5), (1, 1)])
def test_any_size_is_padded_by_reflection_and_cropped_back(size: tuple[int, int]):
    spy, rainy = Spy(), torch.rand(1, 3, *size)
    assert torch.equal(ForeignNetwork(spy, size_multiple=8)(rainy), rainy)
    assert [side % 8 for side in spy.seen.shape[-2:]] == [0, 0]
    if size == (9, 15):
        assert torch.equal(spy.seen, F.pad(rainy, (0, 1, 0, 7), mode="reflect"))


def test_one_of_several_results_is_the_image():
    rainy = torch.rand(1, 3, 4, 4)

    class Result:
        def __init__(self, image: Tensor) -> None:
            self.sample = image

    for give, output in [
        (lambda x: {"out": x, "aux": 0}, "out"),
        (lambda x: [x * 0, x], 1),
        (lambda x: (x * 0, x), -1),
        (lambda x: Result(x), "sample"),
    ]:
        assert torch.equal(ForeignNetwork(Spy(give), output=output)(rainy), rainy)
    spy = Spy()
    ForeignNetwork(spy, arguments={"sigma": 0.1})(rainy)
    assert spy.arguments == {"sigma": 0.1}


@pytest.mark.parametrize(
    ("give", "options", "words"),
    [
        (lambda x: {"a": x}, {}, "gives a mapping of a, not one tensor: say with network.output"),
        (lambda x: [x, x], {}, "gives a list of 2, not one tensor"),
        (
            lambda x: {"a": x},
            {"output": "b"},
            "network.output=b is not among what network.network gives: a mapping of a",
        ),
        (lambda x: [x], {"output": 3}, "network.output=3 is not among"),
        (lambda x: x[..., ::2, ::2], {}, "gives 1x3x2x2 for an image of 1x3x4x4: set network.size_multiple"),
        (lambda x: x[:, :1], {}, "gives 1x1x4x4 for an image"),
        (lambda x: x.mean((2, 3)), {"to_image": True}, "network.to_image=true needs features (N, C, h, w)"),
    ],
)
def test_what_gives_no_image_is_one_sentence(give: Any, options: dict[str, Any], words: str):
    with pytest.raises(SlackoffError) as error:
        ForeignNetwork(Spy(give), **options)(torch.rand(1, 3, 4, 4))
    assert words in str(error.value)


@pytest.mark.parametrize("options", [{"value_range": (1.0, 0.0)}, {"size_multiple": 0}])
def test_options_out_of_their_range_are_refused(options: dict[str, Any]):
    with pytest.raises(SlackoffError, match=r"network\.value_range=|network\.size_multiple=0 must be at least 1"):
        ForeignNetwork(Spy(), **options)


def test_features_become_an_image_of_the_whole_size():
    torch.manual_seed(0)
    network = ForeignNetwork(nn.Conv2d(3, 5, 4, stride=4), to_image=True, size_multiple=4)
    assert network.head is not None
    assert network.head[0].weight.shape == (3 * 16, 5, 1, 1)
    assert network(torch.rand(2, 3, 9, 10)).shape == (2, 3, 9, 10)


FOREIGN: dict[str, dict[str, Any]] = {
    "timm": {
        "network": {
            "_target_": "timm.create_model",
            "model_name": "resnet10t",
            "features_only": True,
            "out_indices": [0],
        },
        "output": 0,
        "to_image": True,
        "size_multiple": 32,
        "residual": True,
    },
    "deepinv": {
        "network": {"_target_": "deepinv.models.dncnn.DnCNN", "pretrained": None, "depth": 3, "nf": 8},
        "value_range": [-1, 1],
    },
    "test_foreign_network": {
        "network": {"_target_": "test_foreign_network.DownAndUp", "num_in_ch": 3, "num_out_ch": 3},
        "size_multiple": 4,
    },
}


@pytest.mark.parametrize("package", FOREIGN)
def test_an_unmodified_network_passes_the_checks(package: str, monkeypatch):
    """All but those with several processes and ONNX, which take long."""
    pytest.importorskip("deepinv.models.dncnn" if package == "deepinv" else package, reason=f"needs {package}")
    monkeypatch.setenv(VARIABLE, package)
    checks = __import__("slackoff.cli.network_check", fromlist=["_CHECKS"])._CHECKS
    monkeypatch.delitem(checks, "several processes")
    monkeypatch.delitem(checks, "ONNX")
    node = {"_target_": "slackoff.networks.ForeignNetwork", **FOREIGN[package]}
    found = list(check_network(node))
    assert [finding for finding in found if finding.state != "passed"] == []
    assert len(found) == 7
    network = build.build(OmegaConf.create(node), "network").eval()
    with torch.no_grad():
        assert math.isfinite(network(torch.rand(1, 3, 45, 30)).sum().item())
