import torch
from own_project.data import Stripes
from own_project.measures import edge_error
from own_project.networks import OwnNetwork


def test_the_network_takes_any_size():
    for size in [(64, 64), (37, 53)]:
        rainy = torch.rand(2, 3, *size)
        assert OwnNetwork(width=4)(rainy).shape == rainy.shape


def test_an_item_is_the_same_whenever_it_is_asked_for():
    pairs = Stripes(count=8)
    for first, again in zip(pairs[3], pairs[3], strict=True):
        assert torch.equal(first, again)
    assert not torch.equal(pairs[3][0], pairs[4][0])
    rainy, clean = pairs[0]
    assert (rainy >= clean).all()


def test_edges_are_right_where_the_image_is():
    clean = torch.rand(1, 3, 8, 8)
    assert edge_error(clean, clean) == 0
    assert edge_error(clean + 0.1, clean) < 1e-3  # a shift of all pixels moves no edge
    assert edge_error(clean.flip(-1), clean) > 1
