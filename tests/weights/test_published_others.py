"""Published weights of other families through the import: every tensor fits, and one stands where it belongs."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slackoff.networks.weights import read_tensors
from slackoff.weight_import import import_weights

WEIGHTS = Path(__file__).parents[3] / "shared" / "weights"


@pytest.mark.parametrize(
    ("preset", "name", "theirs", "ours"),
    [
        ("jorder_e_practical", "jorder-e/model_practical.pt", "jorder2.updater.res1.conv3", "stage2.blocks.0.wide.0"),
        ("ddn_reproduction", "ddn-reproduction/rain100L_model_best.npz", "b2.3", "layers.1.0"),
    ],
)
def test_published_weights_are_imported_whole(preset: str, name: str, theirs: str, ours: str, tmp_path: Path):
    source, target = WEIGHTS / name, tmp_path / "out.safetensors"
    if not source.is_file():
        pytest.skip(f"{source} is absent: this test needs published weights")
    import_weights(preset, source, target)
    assert torch.equal(load_file(target)[f"{ours}.weight"], read_tensors(source)[f"{theirs}.weight"])


def test_of_sirr_the_set_for_labelled_images_is_imported(tmp_path: Path):
    source, target = WEIGHTS / "sirr/sirr_model.npz", tmp_path / "out.safetensors"
    if not source.is_file():
        pytest.skip(f"{source} is absent: this test needs published weights")
    assert import_weights("sirr", source, target).parameters == 57_369
    ours, theirs = load_file(target), read_tensors(source)
    assert torch.equal(ours["layers.1.0.weight"][5, 3], theirs["conv_3__weights_3"][:, :, 3, 5])
    assert torch.equal(ours["last.1.bias"], theirs["conv_26__beta_26"])
    assert not torch.equal(ours["last.1.bias"], theirs["conv_26_1__beta_26"])
