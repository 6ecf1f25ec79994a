import numpy as np
import pytest
import torch

from slackoff.networks.layers import mirror_to_multiple


@pytest.mark.parametrize(("height", "width", "multiple"), [(8, 16, 8), (5, 7, 8), (1, 3, 7), (2, 1, 8), (30, 41, 16)])
def test_it_is_numpys_reflection_however_wide_the_pad(height, width, multiple):
    images = torch.rand(2, 3, height, width)
    pads = (0, -height % multiple), (0, -width % multiple)
    expected = np.pad(images.numpy(), ((0, 0), (0, 0), *pads), mode="reflect")
    padded = mirror_to_multiple(images, multiple)
    assert padded.shape[-2] % multiple == 0
    assert padded.shape[-1] % multiple == 0
    np.testing.assert_array_equal(padded.numpy(), expected)


def test_gradients_come_back_from_the_mirrored_part():
    row = torch.rand(1, 3, requires_grad=True)
    mirror_to_multiple(row, 5).sum().backward()  # columns 0 1 2 1 0, five rows of each
    assert row.grad is not None
    assert row.grad.tolist() == [[10.0, 10.0, 5.0]]


def test_what_fits_is_handed_back_as_it_is():
    images = torch.rand(1, 3, 16, 8)
    assert mirror_to_multiple(images, 8) is images


@pytest.mark.parametrize(("height", "width", "multiple"), [(5, 7, 8), (1, 3, 7), (16, 8, 8)])
def test_an_exported_graph_pads_as_pytorch_does(height, width, multiple, monkeypatch):
    images = torch.rand(2, 3, height, width)
    expected = mirror_to_multiple(images, multiple)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert torch.equal(mirror_to_multiple(images, multiple), expected)
