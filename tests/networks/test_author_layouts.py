"""The published files of MOSS and MENET: every name has its place, and the network computes what the authors' does."""

import re
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from slackoff.networks import MENET, MOSS
from slackoff.networks.weights import fitted, named_as_ours, start_from


def moss_release() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the authors' file for DDN-SIRR, from the description of its network."""
    shapes: dict[str, tuple[int, ...]] = {"head.weight": (16, 3, 3, 3), "memory.units.weight": (512, 96)}
    shapes |= {"tail.weight": (3, 16, 3, 3), "tail.bias": (3,)}
    for kind, widths in (("enc", [16, 32, 48, 64, 80, 96]), ("dec", [96, 80, 64, 48, 32, 16])):
        for stage, (first, last) in enumerate(pairwise(widths)):
            for block in range(4):
                name, c = f"{kind}.{kind}{stage}.{block}", last if block else first
                middle = max(c, last)
                shapes |= {f"{name}.conv1.weight": (middle, c, 3, 3), f"{name}.conv2.weight": (last, middle, 3, 3)}
                shapes |= {} if block else {f"{name}.translation.weight": (last, c, 1, 1)}
    for stage, c in enumerate((80, 64, 48, 32)):
        fuse = f"fuse.fuse{stage}"
        shapes |= {f"{fuse}.norm.{kind}": (c,) for kind in ("running_mean", "running_var")}
        shapes |= {f"{fuse}.norm.num_batches_tracked": (), f"{fuse}.alpha.weight": (1, c, 1, 1)}
        shapes |= {f"{fuse}.{kind}.weight": (c, c, 1, 1) for kind in ("gamma", "beta")}
        shapes |= {f"{fuse}.{kind}": (1, c, 1, 1) for kind in ("affine_gamma", "affine_beta")}
    return shapes


def test_the_published_file_of_moss_is_taken_whole(tmp_path):
    torch.manual_seed(1)
    theirs = {f"module.{name}": torch.randn(shape) for name, shape in moss_release().items()}
    theirs = {name: tensor.long() if name.endswith("tracked") else tensor for name, tensor in theirs.items()}
    torch.save(theirs, tmp_path / "ddn_ssir.pth")
    network = MOSS()
    start_from(network, tmp_path / "ddn_ssir.pth")
    found = network.state_dict()
    assert len(found) == len(theirs)
    for own, name in {
        "memory.table": "memory.units.weight",
        "encoder.2.blocks.0.shortcut.weight": "enc.enc2.0.translation.weight",
        "decoder.4.blocks.3.conv2.weight": "dec.dec4.3.conv2.weight",
        "fusions.1.gate.weight": "fuse.fuse1.alpha.weight",
        "fusions.1.scale": "fuse.fuse1.affine_gamma",
        "fusions.3.shift": "fuse.fuse3.affine_beta",
        "fusions.0.gamma.weight": "fuse.fuse0.gamma.weight",
        "fusions.2.norm.running_var": "fuse.fuse2.norm.running_var",
        "tail.bias": "tail.bias",
    }.items():
        assert torch.equal(found[own], theirs[f"module.{name}"]), own


class Graph:
    """MENET as its authors describe it, on (N, height, width, channels) with TensorFlow's folding; its variables."""

    def __init__(self, blocks: int, attention: bool) -> None:
        self.blocks, self.attention = blocks, attention
        self.variables: dict[str, Tensor] = {}
        self.norms: dict[str, int] = {}

    def variable(self, name: str, *shape: int, at: float = 0.0, spread: float = 0.1) -> Tensor:
        if name not in self.variables:
            self.variables[name] = at + spread * torch.randn(shape, dtype=torch.float64)
        return self.variables[name]

    def conv(self, x: Tensor, name: str, to: int, side: int = 3, scope: str = "derain") -> Tensor:
        kernel = self.variable(f"{scope}/{name}/{name}_conv/kernel", side, side, x.shape[-1], to, spread=0.02)
        return F.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), padding=side // 2).permute(0, 2, 3, 1)

    def norm(self, x: Tensor, scope: str = "derain") -> Tensor:
        number = self.norms[scope] = self.norms.get(scope, -1) + 1
        name, c = f"{scope}/batch_normalization{f'_{number}' if number else ''}", x.shape[-1]
        gamma, beta = self.variable(f"{name}/gamma", c, at=1), self.variable(f"{name}/beta", c)
        mean, variance = (
            self.variable(f"{name}/moving_mean", c),
            self.variable(f"{name}/moving_variance", c, at=1).abs(),
        )
        self.variables[f"{name}/moving_variance"] = variance
        return gamma * (x - mean) / (variance + 1e-3).sqrt() + beta

    @staticmethod
    def fold(x: Tensor) -> Tensor:
        return torch.cat([x[:, dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)], dim=-1)

    @staticmethod
    def unfold(x: Tensor) -> Tensor:
        c = x.shape[-1] // 4
        out = x.new_empty(x.shape[0], 2 * x.shape[1], 2 * x.shape[2], c)
        for dy in (0, 1):
            for dx in (0, 1):
                place = 2 * dy + dx
                out[:, dy::2, dx::2] = x[..., place * c : (place + 1) * c]
        return out

    def attended(self, x: Tensor) -> Tensor:
        y, ca = x, "derain/ca"
        for n in (1, 2):
            y = self.norm(self.conv(self.fold(y), f"squeeze_{n}", 64, 1, ca), ca).relu()
            y = self.norm(self.conv(y, f"layer_{n}", 64, scope=ca), ca).relu()
        y = self.norm(self.conv(y, "excitation_1", 64, scope=ca), ca)
        return x + x * y.mean(dim=(1, 2), keepdim=True).sigmoid()

    def __call__(self, image: Tensor) -> Tensor:
        self.norms.clear()
        half = self.norm(self.conv(self.fold(image), "layer1", 16))
        quarter = self.norm(self.conv(self.fold(half.relu()), "layer2", 64))
        x = self.attended(quarter.relu()) if self.attention else quarter.relu()
        for block in range(self.blocks):
            y = self.norm(self.conv(x, f"res_{block}_a", 64)).relu()
            x = x + self.norm(self.conv(y, f"res_{block}_b", 64))
            x = x.relu() if block < self.blocks - 1 else x
        x = self.unfold(self.norm(self.conv(quarter + x, "layer3", 64)))
        x = self.unfold(self.conv(self.norm(self.conv(half + x, "layer4", 16)), "layer5", 12))
        return (image + x).clamp(0, 255)


@pytest.mark.parametrize(("blocks", "attention"), [(8, True), (3, False)])
@pytest.mark.parametrize("slash", ["/", "__"])
def test_menet_computes_what_its_authors_graph_does(blocks, attention, slash, tmp_path):
    torch.manual_seed(3)
    graph = Graph(blocks, attention)
    rainy = 255 * torch.rand(1, 32, 16, 3, dtype=torch.float64)
    expected = graph(rainy)
    graph.variables |= {name: torch.ones(1) for name in ("beta1_power", "global_step", "derain/layer5/kernel/Adam_1")}
    arrays = {name.replace("/", slash): variable.numpy() for name, variable in graph.variables.items()}
    np.savez(tmp_path / "menet.npz", **arrays)
    network = MENET(blocks=blocks, attention=attention).double().eval()
    start_from(network, tmp_path / "menet.npz")
    with torch.no_grad():
        found = 255 * network(rainy.permute(0, 3, 1, 2) / 255)
    assert ((expected > 0) & (expected < 255)).double().mean() > 0.3
    torch.testing.assert_close(found.permute(0, 2, 3, 1), expected, rtol=0, atol=1e-6)


def test_variables_of_menet_that_are_not_known_stay_what_they_are_called():
    graph = Graph(1, True)
    graph(torch.zeros(1, 16, 16, 3, dtype=torch.float64))
    more = graph.variables | {"derain/caformer/layer_9/kernel": torch.ones(1)}
    network = MENET(blocks=1)
    named = named_as_ours("MENET", more, network.state_dict())
    assert set(named) - set(network.state_dict()) == {"derain/caformer/layer_9/kernel"}
    with pytest.raises(Exception, match=re.escape("1 unexpected: derain/caformer/layer_9/kernel")):
        fitted(network, named, "other.npz")
