"""A map-style data set as labelled pairs: what a batch is made of, and what is refused."""

from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from slackoff.data.datasets import DatasetStream, check_dataset, read_item
from slackoff.errors import SlackoffError


class Pairs(Dataset[Any]):
    """Item i is made from i alone."""

    def __init__(self, count: int = 5, size: tuple[int, int] = (20, 24), give: Any = None) -> None:
        self.count, self.size, self.give = count, size, give
        self.calls = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        self.calls += 1
        clean = torch.rand(3, *self.size, generator=Generator().manual_seed(index))
        pair = (clean * 0.5 + 0.5, clean * 0.5)
        return self.give(*pair, self.calls) if self.give else pair


class Augmented(Pairs):
    def __getitem__(self, index: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        rainy, clean = super().__getitem__(index)
        if generator is not None and torch.rand(1, generator=generator) < 0.5:
            return rainy.flip(-1), clean.flip(-1)
        return rainy, clean


class Careless(Pairs):
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rainy, clean = super().__getitem__(index)
        return (rainy + 0.1 * torch.rand(1)).clamp(0, 1), clean


def stream(dataset: Any, batch_size: int = 6, seed: int = 3) -> DatasetStream:
    return DatasetStream(dataset, 16, batch_size, seed, True, torch.device("cpu"))


@pytest.mark.parametrize("kind", [Pairs, Augmented])
def test_batch_k_is_a_function_of_seed_and_k(kind: type[Pairs]):
    one = stream(kind())
    batches = [one.batch(step) for step in (0, 1, 2)]
    again = stream(kind())
    for found, expected in zip(again.batch(1)[:3], batches[1][:3], strict=True):  # without 0 before it
        assert torch.equal(found, expected)
    assert not torch.equal(batches[0].rainy, batches[1].rainy)
    assert not torch.equal(stream(kind(), seed=4).batch(0).rainy, batches[0].rainy)
    assert batches[0].rainy.shape == (6, 3, 16, 16)
    assert torch.allclose(batches[0].rainy, batches[0].background + 0.5)
    assert torch.allclose(batches[0].rain, torch.full((6, 1, 16, 16), 0.5))


@pytest.mark.parametrize("kind", [Pairs, Augmented])
def test_ranks_share_the_batch_of_one_process(kind: type[Pairs]):
    whole = stream(kind()).batch(4)
    for rank in range(2):
        part = stream(kind()).batch(4, rank, 2)
        assert torch.equal(part.rainy, whole.rainy[rank::2])


def test_a_crop_is_a_crop_of_its_item():
    dataset = Pairs()
    items = [dataset[index][0] for index in range(5)]
    places = set()
    for image in stream(dataset, batch_size=40).batch(0).rainy:
        windows = [(n, y, x) for n, item in enumerate(items) for y in range(5) for x in range(9)
                   if torch.equal(item[:, y : y + 16, x : x + 16], image)]  # fmt: skip
        assert len(windows) == 1
        places |= {windows[0]}
    assert len(places) > 20


@pytest.mark.parametrize(
    "give",
    [
        lambda o, b, _: {"rainy": o, "clean": b, "name": "x"},
        lambda o, b, _: [(255 * o).round().byte(), (255 * b).round().byte()],
        lambda o, b, _: tuple((255 * x).round().byte().permute(1, 2, 0).numpy() for x in (o, b)),
        lambda o, b, _: (o.double(), b.numpy()),
    ],
)
def test_forms_of_an_item(give: Any):
    found = read_item(Pairs(give=give), 2, 16, Generator())
    for image, expected in zip(found, Pairs()[2], strict=True):
        assert image.dtype == torch.float32
        assert torch.allclose(image, expected, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (Pairs(0), "labelled: Pairs has no items"),
        (Pairs(size=(8, 40)), "item 0 of Pairs is 8x40, smaller than background.patch_size_px=16"),
        (Pairs(give=lambda o, b, _: o), "item 0 of Pairs is no pair: let __getitem__ give (rainy, clean)"),
        (Pairs(give=lambda o, b, _: (o, b[:, :-1])), "images of two sizes: (20, 24) and (19, 24)"),
        (Pairs(give=lambda o, b, _: (255 * o, b)), "its rainy image, is not in [0, 1]"),
        (Pairs(give=lambda o, b, _: (o, b * float("nan"))), "its clean image, is not in [0, 1]"),
        (Pairs(give=lambda o, b, _: (o[0], b)), "is a Tensor of shape (20, 24): give a tensor (3, H, W)"),
        (Pairs(give=lambda o, b, _: (1 / 0, b)), "cannot be read: ZeroDivisionError: division by zero"),
        (Pairs(give=lambda o, b, calls: (o * 0.9**calls, b)), "item 0 of Pairs is another one each time"),
        (Careless(), "draw what is random in it from the generator that __getitem__(index, generator) is given"),
    ],
)
def test_what_cannot_be_trained_on_is_one_sentence(dataset: Any, words: str):
    with pytest.raises(SlackoffError) as error:
        check_dataset(dataset, 16)
    assert words in str(error.value)
