import moss_reference as reference
import numpy as np
import pytest
import torch
from formula_weights import fill

from slackoff.networks.moss import ConditionalFusion, ResidualBlock


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("sizes", "middle", "shortcut"),
    [((6, 4, True), 6, True), ((6, 4, False), 4, True), ((4, 6, False), 6, True), ((5, 5, True), 5, False)],
)
def test_residual_block_has_the_widths_of_its_kind(sizes, middle, shortcut):
    block = ResidualBlock(*sizes)
    shapes = {name: tuple(p.shape) for name, p in block.named_parameters()}
    assert shapes.pop("conv1.weight") == (middle, sizes[0], 3, 3)
    assert shapes.pop("conv2.weight") == (sizes[1], middle, 3, 3)
    assert shapes == ({"shortcut.weight": (sizes[1], sizes[0], 1, 1)} if shortcut else {})


@torch.no_grad()
def test_nothing_follows_the_sum_of_a_residual_block():
    """With a second convolution of zero the block is its shortcut, negative values included."""
    block = ResidualBlock(3, 3).double()
    block.conv2.weight.zero_()
    x = numbers(2, 3, 5, 5)
    assert torch.equal(block(x), x)


@torch.no_grad()
def test_fusion_starts_as_the_normalised_encoder_feature():
    fusion = ConditionalFusion(4).double().train()
    encoded, decoded = 3 + 2 * numbers(3, 4, 6, 6), numbers(3, 4, 6, 6, seed=1)
    expected = (encoded - encoded.mean((0, 2, 3), keepdim=True)) / (
        encoded.var((0, 2, 3), correction=0, keepdim=True) + 1e-5
    ).sqrt()
    torch.testing.assert_close(fusion(encoded, decoded), expected)


@torch.no_grad()
def test_the_gate_is_closed_for_a_fifth_of_the_training_images_and_for_none_in_evaluation():
    """An image with a closed gate is that of a fusion without one, and any other that of the reference."""
    count = 2000
    fusion, without = (fill(ConditionalFusion(4, gate), gain=0.8).double() for gate in (True, False))
    encoded, decoded = numbers(count, 4, 1, 2), numbers(count, 4, 1, 2, seed=1)
    for module in (fusion, without):  # evaluation must normalise by what training does
        module.norm.running_mean.copy_(encoded.mean((0, 2, 3)))
        module.norm.running_var.copy_(encoded.var((0, 2, 3), correction=0))
    evaluated, conditioned = fusion(encoded, decoded), without(encoded, decoded)
    state = {f"f.{name}": value.numpy() for name, value in fusion.state_dict().items()}
    np.testing.assert_allclose(evaluated[7], reference.fuse(encoded[7].numpy(), decoded[7].numpy(), state, "f"))
    torch.manual_seed(0)
    trained = fusion.train()(encoded, decoded)
    closed = (trained - conditioned).abs().amax((1, 2, 3)) < 1e-9
    assert closed.float().mean().item() == pytest.approx(0.2, abs=0.03)
    torch.testing.assert_close(trained[~closed], evaluated[~closed], rtol=0, atol=1e-9)
    torch.manual_seed(0)
    assert torch.equal(fusion(encoded, decoded), trained)
