from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from slackoff.data import BatchStream, RainyBatch, RainyData, StepNumbers
from slackoff.errors import SlackoffError
from slackoff.rain import RainRange

SIZE = 32
NARROW = RainRange([200, 300], [1, 3], [10, 20], [-30, 30])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """For such small tensors a second thread gives nothing, and on a busy machine it costs a lot."""
    torch.set_num_threads(1)


def noise_bank(count: int) -> np.ndarray:
    """uint8, (N, P, P, 3); the bank of n is the beginning of every larger one."""
    return np.stack([np.random.default_rng(i).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for i in range(count)])


def stream(count: int = 12, batch_size: int = 8, seed: int = 3, **options: bool) -> BatchStream:
    bank = torch.from_numpy(noise_bank(count)).permute(0, 3, 1, 2).contiguous()
    return BatchStream(bank, NARROW, batch_size, seed, **options)


def numbers(background: Tensor, count: int = 12) -> list[int]:
    """Which patch of the bank each background is; fails if one is none of them."""
    bank = noise_bank(count).transpose(0, 3, 1, 2) / np.float32(255)
    found = []
    for picture in background.numpy():
        same = [i for i, patch in enumerate(bank) if np.array_equal(picture, patch)]
        assert len(same) == 1
        found += same
    return found


def assert_same(a: RainyBatch, b: RainyBatch) -> None:
    assert a.unlabelled is b.unlabelled is None
    for x, y in zip(a[:3], b[:3], strict=True):
        assert torch.equal(x, y)


def test_shapes_types_and_ranges():
    batch = stream().batch(0)
    assert batch.unlabelled is None
    tensors = batch[:3]
    assert [tuple(tensor.shape) for tensor in tensors] == [(8, 3, SIZE, SIZE), (8, 1, SIZE, SIZE), (8, 3, SIZE, SIZE)]
    for tensor in tensors:
        assert tensor.dtype == torch.float32
        assert tensor.min() >= 0
        assert tensor.max() <= 1
    assert batch.rain.max() > 0.9


@pytest.mark.parametrize("fixed", [False, True])
def test_a_batch_depends_on_its_number_alone(fixed):
    """Not on the batches made before it, nor on torch's global random state."""
    straight = [stream(fixed_rain_per_patch=fixed).batch(k) for k in range(5)]
    other = stream(fixed_rain_per_patch=fixed)
    torch.manual_seed(99)
    for k in (4, 0, 3, 3, 1, 2):
        torch.rand(3)
        assert_same(other.batch(k), straight[k])


def test_batches_differ_between_steps_and_between_seeds():
    batches = [stream().batch(0), stream().batch(1), stream(seed=4).batch(0)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (batches[a].rain - batches[b].rain).abs().mean() > 0.05
        assert numbers(batches[a].background) != numbers(batches[b].background)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("ranks", [2, 4])
def test_slices_of_the_ranks_interleave_to_the_global_batch(ranks, fixed):
    whole = stream(fixed_rain_per_patch=fixed).batch(7)
    parts = [stream(fixed_rain_per_patch=fixed).batch(7, rank, ranks) for rank in range(ranks)]
    for tensor, *shares in zip(whole[:3], *(part[:3] for part in parts), strict=True):
        assert torch.equal(torch.stack(shares, 1).flatten(0, 1), tensor)


@pytest.mark.parametrize("fixed", [False, True])
def test_rainy_is_background_plus_rain_clipped(fixed):
    batch = stream(fixed_rain_per_patch=fixed).batch(2)
    background, rain, rainy = (tensor.numpy() for tensor in batch[:3])
    np.testing.assert_array_equal(rainy, np.clip(background + rain, 0, 1))
    assert (rainy == 1).any()
    assert (rainy != background).any()


def test_patches_are_drawn_uniformly_from_the_bank():
    source = stream(count=12, batch_size=50, fixed_rain_per_patch=True)
    backgrounds = torch.cat([source.batch(k).background for k in range(24)])
    drawn = np.bincount(numbers(backgrounds), minlength=12)
    assert drawn.sum() == 1200
    assert np.abs(drawn - 100).max() < 5 * 10


def layers_of_patches(source: BatchStream, count: int, steps: int = 16) -> dict[int, list[Tensor]]:
    """Every rain layer that each patch was given."""
    found: dict[int, list[Tensor]] = {}
    for batch in map(source.batch, range(steps)):
        for number, layer in zip(numbers(batch.background, count), batch.rain, strict=True):
            found.setdefault(number, []).append(layer)
    return found


def test_fixed_rain_stays_with_its_patch():
    found = layers_of_patches(stream(fixed_rain_per_patch=True), 12)
    assert len(found) == 12
    assert min(len(layers) for layers in found.values()) > 1
    for layers in found.values():
        assert all(torch.equal(layer, layers[0]) for layer in layers)
    first = [layers[0] for layers in found.values()]
    assert all((a - b).abs().mean() > 0.02 for i, a in enumerate(first) for b in first[:i])


def test_rain_is_new_at_each_use_otherwise():
    for layers in layers_of_patches(stream(), 12).values():
        assert all((a - b).abs().mean() > 0.02 for i, a in enumerate(layers) for b in layers[:i])


def test_fixed_rain_of_a_patch_is_the_same_in_a_larger_bank():
    """So that a curve over the patch count compares like with like."""
    few, many = (stream(count, fixed_rain_per_patch=True).rain_bank for count in (12, 300))
    assert few is not None
    assert many is not None
    assert torch.equal(few, many[:12])
    assert len(torch.unique(many.flatten(1), dim=0)) == 300


@pytest.mark.parametrize("channels_last", [True, False])
def test_memory_format(channels_last):
    batch = stream(channels_last=channels_last).batch(0)
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert batch.background.is_contiguous(memory_format=wanted)
    assert batch.rainy.is_contiguous(memory_format=wanted)
    assert_same(batch, stream(channels_last=not channels_last).batch(0))


def data_of(rank: int = 0, world_size: int = 1, step: int = 0, batch_size: int = 8) -> RainyData:
    data = RainyData(noise_bank(12), NARROW, batch_size, seed=3)
    data.trainer = SimpleNamespace(
        world_size=world_size,
        global_rank=rank,
        global_step=step,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
    data.setup("fit")
    return data


def test_the_data_module_gives_each_rank_its_share_of_the_stream():
    for rank in range(4):
        share = data_of(rank, world_size=4).on_after_batch_transfer(5, 0)
        assert_same(share, stream().batch(5, rank, 4))


def test_a_batch_that_the_ranks_cannot_share_is_refused():
    with pytest.raises(SlackoffError, match=r"^schedule\.batch_size=6 cannot be shared by 4 ranks.*multiple of 4"):
        data_of(world_size=4, batch_size=6)


def test_step_numbers_start_where_training_stands():
    data = data_of(step=41)
    loader = data.train_dataloader()
    assert isinstance(loader, StepNumbers)
    first = iter(loader)
    assert [next(first) for _ in range(3)] == [41, 42, 43]
    data.trainer.global_step = 7
    assert next(iter(loader)) == 7


def test_a_read_only_bank_is_accepted():
    bank = noise_bank(4)
    bank.flags.writeable = False
    data = RainyData(bank, NARROW, 2, seed=0)
    data.trainer = data_of().trainer
    data.setup("fit")
    assert set(numbers(data.on_after_batch_transfer(0, 0).background)) <= {0, 1, 2, 3}


@pytest.mark.parametrize("fixed", [False, True])
def test_nothing_is_drawn_on_the_device_so_that_every_device_is_given_the_same(fixed):
    """There is no generator for the meta device, which holds no values."""
    bank = torch.from_numpy(noise_bank(12)).permute(0, 3, 1, 2).to("meta")
    batch = BatchStream(bank, NARROW, 8, 3, fixed_rain_per_patch=fixed).batch(0)
    assert {part.device.type for part in batch[:3]} == {"meta"}
    assert batch.rainy.shape == (8, 3, SIZE, SIZE)
