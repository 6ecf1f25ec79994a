"""The names of Syn2Real's release, from the description of its modules. Its files are not to be had."""

import pytest
import torch

from slackoff.networks import Syn2Real
from slackoff.networks.weights import named_as_ours, read_tensors, start_from

SCALES = (16, 32, 32, 128, 128, 128, 128, 64, 80)
BEFORE = {2: (32, 32), 3: (32, 32), 4: (64, 128), 7: (32, 64), 8: (32, 32), 9: (32, 32)}
AFTER = {
    2: (64, 32),
    3: (64, 64),
    4: (256, 128),
    5: (256, 128),
    6: (256, 128),
    7: (256, 32),
    8: (128, 32),
    9: (160, 16),
}
PLAIN = {
    "conv_input": (16, 3, 3),
    "zout": (32, 128, 3),
    "conv_refin": (16, 16, 3),
    "refine3": (3, 16, 3),
    "refineclean1": (8, 3, 7),
    "refineclean2": (3, 8, 3),
}


def norm(name: str, channels: int) -> dict[str, torch.Tensor]:
    kinds = ("weight", "bias", "running_mean", "running_var")
    values = {f"{name}.{kind}": torch.rand(channels) for kind in kinds}
    return values | {f"{name}.num_batches_tracked": torch.tensor(7)}


@pytest.fixture(scope="module")
def released() -> dict[str, torch.Tensor]:
    """Made-up tensors under every name of the release, the unused ones too."""
    torch.manual_seed(1)
    made: dict[str, torch.Tensor] = {}
    for number, c in enumerate(SCALES, 1):
        block, w = f"dense_block{number}", 8 * (12 * c // 64)
        made |= norm(f"{block}.bn1", c) | norm(f"{block}.bn3", 6 * w)
        made |= {
            f"{block}.conv1.weight": torch.randn(6 * w, c, 1, 1),
            f"{block}.conv3.weight": torch.randn(c, 6 * w, 1, 1),
        }
        for i in range(5):
            made |= norm(f"{block}.bns.{i}", w) | {f"{block}.convs.{i}.weight": torch.randn(w, w // 8, 3, 3)}
        made[f"{block}.SE.fc.0.weight"] = torch.randn(2, c)
    transitions = {f"trans_block{n}": sides for n, sides in BEFORE.items()}
    transitions |= {f"trans_block{n}_o": sides for n, sides in AFTER.items()}
    for name, (inputs, outputs) in transitions.items():
        made |= norm(f"{name}.bn1", inputs) | {f"{name}.conv1.weight": torch.randn(inputs, outputs, 1, 1)}
    for name, (outputs, inputs, side) in PLAIN.items():
        made[f"{name}.weight"] = torch.randn(outputs, inputs, side, side)
        made[f"{name}.bias"] = torch.randn(outputs)
    return made


def test_a_file_of_the_release_is_taken_whole(released, tmp_path):
    """As DataParallel saves it; squeeze-excitations are dropped."""
    path = tmp_path / "derain_best.pth"
    torch.save({f"module.{name}": tensor for name, tensor in released.items()}, path)
    network = Syn2Real()
    start_from(network, path)
    found = network.state_dict()
    pairs = {
        "dense_block1.convs.3": "encoder1.filters.3",
        "dense_block3.bns.1": "encoder3.1.split_norms.1",
        "dense_block5.bn3": "encoder5.0.joined_norm",
        "dense_block6.conv1": "encoder6.0.widen",
        "dense_block8.conv3": "decoder8.0.narrow",
        "dense_block9.bn1": "decoder9.0.norm",
        "trans_block4.conv1": "encoder4.0.change",
        "trans_block4_o.bn1": "encoder4.2.norm",
        "trans_block5_o.conv1": "encoder5.1.change",
        "trans_block8.conv1": "up8.change",
        "trans_block8_o.bn1": "decoder8.1.norm",
        "zout": "to_latent",
        "conv_refin": "rain",
        "refineclean2": "clean.2",
    }
    for theirs, ours in pairs.items():
        assert torch.equal(found[f"{ours}.weight"], released[f"{theirs}.weight"]), ours
    assert len(read_tensors(path)) == len(found) + 9


@pytest.mark.parametrize(
    "name", ["dense_block0.bn1.weight", "dense_block1.bn2.weight", "trans_block5.bn1.weight", "zout", "other.weight"]
)
def test_other_names_stay(name):
    assert set(named_as_ours("Syn2Real", {name: torch.zeros(1)}, [])) == {name}
