"""Rain and background error against NumPy, PSNR and SSIM against scikit-image, and cases with a known answer."""

import math

import metrics_reference as reference
import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from slackoff.metrics import functional

THRESHOLDS = [0, 10, 20, 50]
SSIM_LIKE_OURS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}


def smooth_scene(strength: float = 40.0):
    """A grey ramp with rain on half of its columns, far from clipping: background, rain, rainy, mask."""
    background = torch.linspace(0.3, 0.6, 32).expand(2, 3, 32, 32).clone()
    rain = torch.zeros(2, 1, 32, 32)
    rain[..., ::2] = torch.linspace(0.5, 1.0, 32).view(32, 1) * strength / 255
    return background, rain, background + rain, functional.rain_mask(rain, 10)


def smooth_pair(seed: int = 0, height: int = 40, width: int = 52):
    """Noisy and clean smooth bright images: SSIM takes small differences of large numbers there."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(200, 245, width)[None, None, :, None] + generator.uniform(-5, 5, (2, 1, 1, 3))
    reference_images = np.broadcast_to(ramp, (2, height, width, 3))
    noisy = np.clip(reference_images + generator.normal(0, 3, reference_images.shape), 0, 255)
    return [np.rint(x) for x in (noisy, reference_images)]


def as_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images / 255).float().permute(0, 3, 1, 2)


def test_quantise_is_numpy_rounding_and_idempotent():
    image = torch.from_numpy(np.random.default_rng(1).uniform(-0.2, 1.2, (1, 3, 40, 40))).float()
    expected = np.rint(np.clip(image.numpy(), 0, 1) * 255)
    once = functional.quantise(image)
    np.testing.assert_allclose(once.numpy() * 255, expected, atol=1e-4)
    assert torch.equal(functional.quantise(once), once)
    assert functional.quantise(image.bfloat16()).dtype == torch.float32


def test_quantise_can_round_down_as_a_cast_does():
    generator = np.random.default_rng(1)
    expected = generator.integers(0, 255, (1, 3, 40, 40))
    image = ((expected + generator.uniform(0, 0.99, expected.shape)) / 255).astype(np.float32)
    assert ((image * 255).astype(np.uint8) == expected).all()
    once = functional.quantise(torch.from_numpy(image), truncate=True)
    np.testing.assert_allclose(once.numpy() * 255, expected, atol=1e-4)
    every_level = (torch.arange(256) / 255).float()
    assert torch.equal(functional.quantise(every_level, truncate=True), functional.quantise(every_level))


def test_rain_mask_is_the_integer_comparison_for_every_level_and_threshold():
    levels = np.arange(256)
    rain = torch.from_numpy(levels / 255).float().view(1, 1, 1, 256)
    from_subtraction = (torch.arange(256) / 255).float().view(1, 1, 1, 256)
    for threshold in range(255):
        expected = levels > threshold
        assert np.array_equal(functional.rain_mask(rain, threshold).numpy().ravel(), expected)
        assert np.array_equal(functional.rain_mask(from_subtraction, threshold).numpy().ravel(), expected)


def test_rain_mask_of_a_pair_is_that_of_its_integers():
    """O - B of 8-bit images in float32 is off the grid by its own rounding."""
    background, rain = np.meshgrid(np.arange(256), np.arange(256))
    rainy = np.minimum(background + rain, 255)
    tensors = [torch.from_numpy(x / 255).float().expand(1, 3, 256, 256) for x in (rainy, background)]
    layer = functional.rain_from_pair(*tensors)
    for threshold in [0, 1, 10, 20, 50, 200]:
        mask = functional.rain_mask(layer, threshold)[0, 0].numpy()
        assert np.array_equal(mask, rainy - background > threshold)


def test_rain_from_pair_takes_the_strongest_channel_and_no_negative_rain():
    background = torch.tensor([0.9, 0.2, 0.5]).view(1, 3, 1, 1)
    rainy = torch.tensor([1.0, 0.5, 0.7]).view(1, 3, 1, 1)
    assert functional.rain_from_pair(rainy, background).item() == pytest.approx(0.3)
    assert functional.rain_from_pair(background, rainy).item() == 0


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_errors_and_share_match_numpy(batch, threshold):
    mask = functional.rain_mask(batch.rain, threshold)
    share, leftover = functional.removal_share(batch.output, batch.rainy, batch.rain, mask)
    found = {
        "e_r": functional.rain_error(batch.output, batch.rainy, mask),
        "e_b": functional.background_error(batch.output, batch.background, mask),
        "residual_rms": functional.residual_rms(batch.output, batch.background, mask),
        "removal_share": share,
        "leftover_rms": leftover,
    }
    for index in range(4):
        for name, value in reference.figures(batch.arrays(index), threshold).items():
            assert found[name].dtype == torch.float32
            assert found[name][index].item() == pytest.approx(value, rel=1e-5), name


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.25])
def test_share_is_the_removed_part_of_unclipped_rain(strength):
    _, rain, rainy, mask = smooth_scene()
    share, leftover = functional.removal_share(rainy - strength * rain, rainy, rain, mask)
    assert share.tolist() == pytest.approx([strength] * 2, abs=1e-5)
    assert leftover.tolist() == pytest.approx([0] * 2, abs=1e-4)


def test_share_ignores_a_shift_per_channel_that_e_r_takes_for_removal():
    _, rain, rainy, mask = smooth_scene()
    shift = torch.tensor([30.0, 20.0, 10.0]).view(1, 3, 1, 1) / 255
    share, leftover = functional.removal_share(rainy - shift, rainy, rain, mask)
    assert share.tolist() == pytest.approx([0, 0], abs=1e-5)
    assert leftover.tolist() == pytest.approx([0, 0], abs=1e-4)
    expected = math.sqrt((30**2 + 20**2 + 10**2) / 3)
    assert functional.rain_error(rainy - shift, rainy, mask).tolist() == pytest.approx([expected] * 2, rel=1e-5)
    both, _ = functional.removal_share(rainy - shift - 0.5 * rain, rainy, rain, mask)
    assert both.tolist() == pytest.approx([0.5, 0.5], abs=1e-5)


def test_share_takes_lower_contrast_for_partial_removal():
    """A documented limit: 0.7 O dims the rain with everything else, and counts as 0.3 removed."""
    _, rain, _, mask = smooth_scene()
    rainy = 0.5 + rain.expand(2, 3, 32, 32)
    share, _ = functional.removal_share(0.7 * rainy, rainy, rain, mask)
    assert share.tolist() == pytest.approx([0.3, 0.3], abs=1e-5)


def test_leftover_sees_damage_that_is_no_rain(batch):
    mask = functional.rain_mask(batch.rain, 10)
    noise = torch.randn(batch.rainy.shape, generator=torch.Generator().manual_seed(0)) * 12 / 255
    share, leftover = functional.removal_share(batch.rainy + noise, batch.rainy, batch.rain, mask)
    assert share.abs().max() < 0.03
    assert leftover.tolist() == pytest.approx([12] * 4, rel=0.05)


def test_images_without_rain_or_without_rain_free_pixels_are_nan(batch):
    rain = batch.rain.clone()
    rain[0] = 0
    rain[1] = 0.5
    mask = functional.rain_mask(rain, 10)
    rain_error = functional.rain_error(batch.output, batch.rainy, mask)
    background_error = functional.background_error(batch.output, batch.background, mask)
    share, leftover = functional.removal_share(batch.output, batch.rainy, rain, mask)
    assert rain_error.isnan().tolist() == [True, False, False, False]
    assert background_error.isnan().tolist() == [False, True, False, False]
    assert share.isnan().tolist() == leftover.isnan().tolist() == [True, True, False, False]


def test_a_broken_output_is_nan_everywhere(batch):
    """A network that gives NaN must not look like an empty mask."""
    output = batch.output.clone()
    output[0, 0, 0, 0] = math.nan
    mask = torch.ones_like(batch.rain, dtype=torch.bool)
    sums = functional.error_sums(functional.quantise(output), batch.rainy, mask)
    assert sums.total[0].isnan()
    assert sums.weight[0] == 24 * 31


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda b: functional.rain_mask(b.rainy, 10), "rain layer"),
        (lambda b: functional.squared_error(b.output, b.rainy[..., :-1]), "different shape"),
        (lambda b: functional.error_sums(b.output, b.rainy, b.rain), "bool mask"),
        (lambda b: functional.error_sums(b.output, b.rainy, b.rainy > 0.5), "bool mask"),
        (lambda b: functional.psnr(b.output, b.output, "Y"), "'rgb' or 'y'"),
    ],
)
def test_what_does_not_fit_is_refused(batch, call, words):
    with pytest.raises(ValueError, match=words):
        call(batch)


def test_luma_is_bt601_in_studio_range():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (3, 9, 11, 3)).astype(float)
    images[0, 0, :2] = [[0], [255]]
    found = functional.luma(as_tensor(images))[:, 0].double().numpy() * 255
    np.testing.assert_allclose(found, reference.luma(images), atol=2e-3)
    np.testing.assert_allclose(found, rgb2ycbcr(images.astype(np.uint8))[..., 0], atol=1e-4)
    assert found[0, 0, :2].tolist() == pytest.approx([16, 235], abs=1e-4)


@pytest.mark.parametrize("autocast", [False, True])
def test_psnr_and_ssim_match_scikit_image_also_under_autocast(batch, autocast):
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        psnr = functional.psnr(batch.output, batch.background)
        gaussian, uniform = (functional.ssim(batch.output, batch.background, window=w) for w in ("gaussian", "uniform"))
    for index in range(4):
        output, background, _, _ = (x.astype(np.uint8) for x in batch.arrays(index))
        assert psnr[index].item() == pytest.approx(peak_signal_noise_ratio(background, output), abs=1e-4)
        expected = structural_similarity(background, output, channel_axis=2, **SSIM_LIKE_OURS)
        assert gaussian[index].item() == pytest.approx(expected, abs=1e-5)
        expected = structural_similarity(background, output, data_range=255, channel_axis=2)
        assert uniform[index].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("window", "side"), [("gaussian", 11), ("uniform", 7)])
def test_ssim_of_identical_images_is_one_and_below_the_window_undefined(batch, window, side):
    fitting, small = batch.output[..., :side, : side + 2], batch.output[..., : side - 1, :20]
    assert functional.ssim(fitting, fitting, window=window).tolist() == pytest.approx([1] * 4, abs=1e-6)
    assert functional.ssim(small, small, window=window).isnan().all()


def test_pooled_psnr_is_not_the_mean_of_psnrs():
    """40 and 20 dB average to 30 dB, while the pooled error is nearly that of the bad image."""
    reference_images = torch.full((2, 3, 16, 16), 0.5)
    sums = functional.psnr_sums(reference_images + torch.tensor([0.01, 0.1]).view(2, 1, 1, 1), reference_images)
    assert functional.decibel(sums).mean().item() == pytest.approx(30, abs=1e-3)
    pooled = functional.decibel(functional.Sums(sums.total.sum(), sums.weight.sum())).item()
    assert pooled == pytest.approx(-10 * math.log10((0.01**2 + 0.1**2) / 2), abs=1e-3)
    assert pooled == pytest.approx(22.97, abs=0.01)


def test_ssim_holds_on_smooth_bright_images():
    noisy, clean = smooth_pair()
    found = {
        kind: functional.ssim(as_tensor(noisy), as_tensor(clean), *kind)
        for kind in (("rgb", "gaussian"), ("y", "gaussian"), ("rgb", "uniform"))
    }
    for (channel, window), values in found.items():
        options = SSIM_LIKE_OURS if window == "gaussian" else {"data_range": 255}
        for index in range(2):
            images = [x[index] if channel == "rgb" else reference.luma(x[index]) for x in (noisy, clean)]
            expected = structural_similarity(*images, channel_axis=2 if channel == "rgb" else None, **options)
            assert values[index].item() == pytest.approx(expected, abs=2e-4)


def test_ssim_leaves_out_the_border_where_the_window_does_not_fit():
    """A damaged corner is under few windows; torchmetrics' full map cropped by 5 pixels says the same."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    noisy, clean = (as_tensor(x) for x in smooth_pair(seed=3))
    noisy[..., :4, :4] = 0
    full_mean, full_map = structural_similarity_index_measure(
        noisy, clean, data_range=1.0, reduction="none", return_full_image=True
    )
    found = functional.ssim(noisy, clean)
    torch.testing.assert_close(found, full_map[..., 5:-5, 5:-5].mean((1, 2, 3)), atol=2e-4, rtol=0)
    assert ((found - full_mean).abs() > 0.01).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu_and_its_ssim_is_not_spoilt_by_tf32_or_autocast(batch):
    mask = functional.rain_mask(batch.rain, 10)
    here = functional.removal_share(batch.output, batch.rainy, batch.rain, mask)
    there = functional.removal_share(*(x.cuda() for x in (batch.output, batch.rainy, batch.rain, mask)))
    for first, second in zip(here, there, strict=True):
        torch.testing.assert_close(first, second.cpu())
    noisy, clean = (as_tensor(x) for x in smooth_pair())
    with torch.autocast("cuda", torch.bfloat16):
        found = functional.ssim(noisy.cuda(), clean.cuda())
    torch.testing.assert_close(found.cpu(), functional.ssim(noisy, clean), atol=2e-4, rtol=0)
