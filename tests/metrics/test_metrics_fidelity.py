"""PSNR and SSIM against scikit-image, luma against its definition."""

import math

import metrics_reference as reference
import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from slackoff.metrics import fidelity

SSIM_LIKE_OURS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}


def smooth_pair(seed: int = 0, height: int = 40, width: int = 52):
    """Noisy and clean smooth bright images: SSIM takes small differences of large numbers there."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(200, 245, width)[None, None, :, None] + generator.uniform(-5, 5, (2, 1, 1, 3))
    reference_images = np.broadcast_to(ramp, (2, height, width, 3))
    noisy = np.clip(reference_images + generator.normal(0, 3, reference_images.shape), 0, 255)
    return [np.rint(x) for x in (noisy, reference_images)]


def as_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images / 255).float().permute(0, 3, 1, 2)


def test_luma_is_bt601_in_studio_range():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (3, 9, 11, 3)).astype(float)
    found = fidelity.luma(as_tensor(images))[:, 0].double().numpy() * 255
    np.testing.assert_allclose(found, reference.luma(images), atol=2e-3)
    np.testing.assert_allclose(found, rgb2ycbcr(images.astype(np.uint8))[..., 0], atol=1e-4)


def test_luma_of_black_and_white():
    black_and_white = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert (fidelity.luma(black_and_white) * 255).flatten().tolist() == pytest.approx([16, 235], abs=1e-4)


def test_psnr_matches_scikit_image_per_image(batch):
    found = fidelity.psnr(batch.output, batch.background)
    assert found.shape == (4,)
    for index in range(4):
        output, background, _, _ = (x.astype(np.uint8) for x in batch.arrays(index))
        expected = peak_signal_noise_ratio(background, output, data_range=255)
        assert found[index].item() == pytest.approx(expected, abs=1e-4)


def test_ssim_in_uniform_windows_is_scikit_image_s_own(batch):
    found = fidelity.ssim(batch.output, batch.background, window="uniform")
    for index in range(4):
        output, background, _, _ = (x.astype(np.uint8) for x in batch.arrays(index))
        expected = structural_similarity(background, output, data_range=255, channel_axis=2)
        assert found[index].item() == pytest.approx(expected, abs=1e-5)
    noisy, clean = smooth_pair()
    found = fidelity.ssim(as_tensor(noisy), as_tensor(clean), window="uniform")
    for index in range(2):
        expected = structural_similarity(noisy[index], clean[index], data_range=255, channel_axis=2)
        assert found[index].item() == pytest.approx(expected, abs=1e-4)


def test_a_size_below_the_window_has_no_ssim():
    small = torch.rand(2, 3, 7, 9)
    assert fidelity.ssim(small, small, window="uniform").tolist() == pytest.approx([1, 1])
    assert fidelity.ssim(small, small).isnan().all()
    assert fidelity.ssim(small[..., :6], small[..., :6], window="uniform").isnan().all()


def test_psnr_on_luma_matches_an_independent_formula_and_differs_from_rgb(batch):
    found = fidelity.psnr(batch.output, batch.background, "y")
    for index in range(4):
        output, background, _, _ = batch.arrays(index)
        expected = reference.psnr(reference.luma(output), reference.luma(background))
        assert found[index].item() == pytest.approx(expected, abs=1e-3)
    assert ((found - fidelity.psnr(batch.output, batch.background)).abs() > 0.5).all()


def test_psnr_of_identical_images_is_infinite(batch):
    assert fidelity.psnr(batch.background, batch.background).tolist() == [math.inf] * 4


def test_pooled_psnr_is_not_the_mean_of_psnrs():
    """40 and 20 dB average to 30 dB, while the pooled error is nearly that of the bad image."""
    reference_images = torch.full((2, 3, 16, 16), 0.5)
    images = reference_images + torch.tensor([0.01, 0.1]).view(2, 1, 1, 1)
    sums, count = fidelity.psnr_sums(images, reference_images)
    assert fidelity.decibel(sums, count).mean().item() == pytest.approx(30, abs=1e-3)
    pooled = -10 * math.log10((0.01**2 + 0.1**2) / 2)
    assert fidelity.decibel(sums.sum(), count.sum()).item() == pytest.approx(pooled, abs=1e-3)
    assert pooled == pytest.approx(22.97, abs=0.01)


@pytest.mark.parametrize("autocast", [False, True])
def test_ssim_matches_scikit_image_also_under_autocast(batch, autocast):
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = fidelity.ssim(batch.output, batch.background)
    for index in range(4):
        output, background, _, _ = batch.arrays(index)
        expected = structural_similarity(output, background, channel_axis=2, **SSIM_LIKE_OURS)
        assert found[index].item() == pytest.approx(expected, abs=1e-5)


def test_ssim_holds_on_smooth_bright_images():
    noisy, clean = smooth_pair()
    for channel in ("rgb", "y"):
        found = fidelity.ssim(as_tensor(noisy), as_tensor(clean), channel)
        for index in range(2):
            pair = noisy[index], clean[index]
            axis = {"channel_axis": 2} if channel == "rgb" else {}
            images = pair if channel == "rgb" else [reference.luma(x) for x in pair]
            expected = structural_similarity(*images, **axis, **SSIM_LIKE_OURS)
            assert found[index].item() == pytest.approx(expected, abs=2e-4)


def test_ssim_leaves_out_the_border_where_the_window_does_not_fit():
    """A damaged corner is under few windows; torchmetrics' full map cropped by 5 pixels says the same."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    noisy, clean = (as_tensor(x) for x in smooth_pair(seed=3))
    noisy[..., :4, :4] = 0
    full_mean, full_map = structural_similarity_index_measure(
        noisy, clean, data_range=1.0, reduction="none", return_full_image=True
    )
    found = fidelity.ssim(noisy, clean)
    torch.testing.assert_close(found, full_map[..., 5:-5, 5:-5].mean((1, 2, 3)), atol=2e-4, rtol=0)
    assert ((found - full_mean).abs() > 0.01).all()


def test_ssim_of_identical_images_is_one_and_of_tiny_images_undefined(batch):
    assert fidelity.ssim(batch.output, batch.output).tolist() == pytest.approx([1] * 4, abs=1e-6)
    small = batch.output[..., :10, :20]
    assert fidelity.ssim(small, small).isnan().tolist() == [True] * 4
    fitting = batch.output[..., :11, :11]
    assert fidelity.ssim(fitting, fitting).tolist() == pytest.approx([1] * 4, abs=1e-6)


def test_unknown_channel_is_refused(batch):
    with pytest.raises(ValueError, match="'rgb' or 'y'"):
        fidelity.psnr(batch.output, batch.output, "Y")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_ssim_is_not_spoilt_by_tf32_or_autocast():
    noisy, clean = (as_tensor(x) for x in smooth_pair())
    expected = fidelity.ssim(noisy, clean)
    with torch.autocast("cuda", torch.bfloat16):
        found = fidelity.ssim(noisy.cuda(), clean.cuda())
    torch.testing.assert_close(found.cpu(), expected, atol=2e-4, rtol=0)
