"""What every term promises, and each against its formula in NumPy, OpenCV or kornia."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import vgg19

from slackoff.config import build
from slackoff.errors import SlackoffError
from slackoff.losses import (
    EdgeAware,
    NegativeSSIM,
    Perceptual,
    PixelL1,
    PixelMSE,
    Term,
    Texture,
    TotalVariationTerm,
)
from slackoff.losses.terms import gram_frobenius_error, gram_mean_error, patches, sobel, total_variation

DEGREES = {"mse": 2, "l1": 1, "edge": 2, "edge_chw": 2, "gram_mean": 4, "gram_frobenius": 4, "variation": 2, "vgg": 2}


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """Random weights of VGG-19's convolutions."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vgg19-dcbb9e9d.pth"
    torch.save(vgg19(weights=None).features.state_dict(prefix="features."), path)
    return path


@pytest.fixture
def make(vgg_file):
    """Terms by name."""
    classes = {
        "mse": PixelMSE,
        "l1": PixelL1,
        "edge": EdgeAware,
        "edge_chw": lambda **settings: EdgeAware("chw", **settings),
        "gram_mean": Texture,
        "gram_frobenius": lambda **settings: Texture("gram_frobenius", **settings),
        "variation": TotalVariationTerm,
        "vgg": lambda **settings: Perceptual(str(vgg_file), **settings),
    }
    return lambda name, **settings: classes[name](**settings)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 13, 18, generator=generator), torch.rand(2, 3, 13, 18, generator=generator)


@pytest.mark.parametrize("name", DEGREES)
class TestEveryTerm:
    def test_it_is_reckoned_in_grey_levels_unless_told_otherwise(self, make, images, name):
        term, unscaled = make(name), make(name, scale=1.0)(*images)
        assert not list(term.parameters())
        assert not term.state_dict()
        assert term(*images).item() == pytest.approx(255.0 ** DEGREES[name] * unscaled.item(), rel=1e-4)

    def test_it_is_float32_under_autocast(self, make, images, name):
        output = images[0].requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            found = make(name)(output, images[1])
        found.backward()
        assert found.dtype == torch.float32
        gradient, output.grad = output.grad, None
        plain = make(name)(output, images[1])
        plain.backward()
        assert found.item() == plain.item()
        halves = [batch.to(torch.bfloat16) for batch in images]
        assert make(name)(*halves).item() == make(name)(*(batch.float() for batch in halves)).item()
        torch.testing.assert_close(gradient, output.grad, rtol=0, atol=0)

    def test_the_truth_costs_nothing(self, make, images, name):
        if name != "variation":
            assert make(name)(images[1], images[1]).item() == 0

    def test_images_that_are_too_small_are_refused(self, make, name):
        term = make(name)
        side = term.least_side
        smallest = torch.rand(2, 1, 3, side, side)
        assert term(*smallest).isfinite()
        if side > 1:
            sentence = rf"needs images of at least {side} x {side} px, not {side} x {side - 1}: raise background\.patch"
            with pytest.raises(SlackoffError, match=sentence):
                term(*smallest[..., :-1])

    def test_its_gradient_is_that_of_differences(self, make, images, name):
        output, background = (batch[:1, :, :8, :9].double() for batch in images)
        if name != "vgg":  # convolutions of float32
            term = make(name, scale=1.0)
            (gradient,) = torch.autograd.grad(term(output.requires_grad_(), background), output)
            step = 1e-2 * torch.randn(output.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            with torch.no_grad():
                ends = [term(output + sign * step, background).item() for sign in (1, -1)]
            assert (gradient * step).sum().item() == pytest.approx((ends[0] - ends[1]) / 2, rel=2e-2)

    @pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_scale_that_is_none_is_refused(self, make, name, scale):
        with pytest.raises(SlackoffError, match=r"scale=.* must be a finite number above 0"):
            make(name, scale=scale)

    def test_it_can_be_checked_without_computing_anything(self, make, images, name):
        with torch.device("meta"):
            found = make(name)(*(torch.empty(batch.shape) for batch in images))
        assert found.shape == ()


def test_images_that_do_not_fit_are_refused(images):
    for output in (images[0][:1], images[0][..., :-1], images[0][:, :1], images[0][0], images[0].byte()):
        with pytest.raises(SlackoffError, match=r"^PixelL1 compares RGB images of one shape, .* but the output is "):
            PixelL1()(output, images[1])
    with pytest.raises(SlackoffError, match=r"output is float32 \(0, 3, 13, 18\)"):
        PixelL1()(images[0][:0], images[1][:0])


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("pixel", ["pixel"]),
        ("pixel_edge", ["pixel", "edge"]),
        ("pixel_edge_texture", ["pixel", "edge", "texture"]),
        ("pixel_vgg", ["pixel", "vgg"]),
    ],
)
def test_configs_build_terms_by_name(composed, vgg_file, images, choice, names):
    config = composed(f"+terms@task.terms={choice}", f"data_root={vgg_file.parent}", "roots.vgg19=${data_root}")
    terms = {name: build.build(node, f"task.terms.{name}") for name, node in config.task.terms.items()}
    assert list(terms) == names
    assert all(isinstance(term, Term) and term.scale == 255 and term(*images).isfinite() for term in terms.values())


def test_configs_name_where_the_weights_should_be(composed, tmp_path):
    config = composed("+terms@task.terms=pixel_vgg", f"data_root={tmp_path}")
    with pytest.raises(SlackoffError, match=rf"into {tmp_path}/vgg19, or name .* with roots\.vgg19=PATH"):
        build.build(config.task.terms.vgg, "task.terms.vgg")


@pytest.fixture
def pair():
    rng = np.random.default_rng(8)
    return rng.random((2, 3, 7, 6), dtype=np.float32), rng.random((2, 3, 7, 6), dtype=np.float32)


def term_value(term, output, background):
    return term(torch.from_numpy(output), torch.from_numpy(background)).item()


def cv2_sobel(images):
    """Both directions of each channel: (2, N, C, H, W), down the image and across."""
    flat = images.astype(np.float64).reshape(-1, *images.shape[-2:])
    directions = [
        [cv2.Sobel(channel, cv2.CV_64F, dx, 1 - dx, ksize=3, borderType=cv2.BORDER_REFLECT_101) for channel in flat]
        for dx in (0, 1)
    ]
    return np.array(directions).reshape(2, *images.shape)


def test_pixel_errors_are_means_in_grey_levels(pair):
    difference = 255.0 * pair[0].astype(np.float64) - 255.0 * pair[1]
    assert term_value(PixelMSE(), *pair) == pytest.approx(np.mean(difference**2), rel=1e-5)
    assert term_value(PixelL1(), *pair) == pytest.approx(np.mean(np.abs(difference)), rel=1e-5)


def test_sobel_features_are_those_of_opencv_up_to_the_border(pair):
    found = sobel(torch.from_numpy(pair[0])).numpy()
    np.testing.assert_allclose(found, cv2_sobel(pair[0]), atol=1e-5)


def test_the_edge_error_is_a_mean_over_both_directions_and_in_the_paper_their_sum(pair):
    output, background = (255.0 * images for images in pair)
    per_image = np.sum((cv2_sobel(output) - cv2_sobel(background)) ** 2, axis=(0, 2, 3, 4)) / (3 * 7 * 6)
    assert term_value(EdgeAware("chw"), *pair) == pytest.approx(per_image.mean(), rel=1e-5)
    assert term_value(EdgeAware(), *pair) == pytest.approx(per_image.mean() / 2, rel=1e-5)


def gram(image):
    """Patch by patch, in float64: (48, 48)."""
    channels, height, width = image.shape
    columns = [
        image[:, top : top + 4, left : left + 4].astype(np.float64).ravel()
        for top in range(0, height - 3, 4)
        for left in range(0, width - 3, 4)
    ]
    assert all(len(column) == 16 * channels for column in columns)
    matrix = np.array(columns).T
    return matrix @ matrix.T


def gram_means(output, background):
    return np.mean([(gram(o).mean() - gram(b).mean()) ** 2 for o, b in zip(output, background, strict=True)])


def gram_frobenius(output, background):
    return np.mean([np.sum((gram(o) - gram(b)) ** 2) for o, b in zip(output, background, strict=True)])


REFERENCES = {"gram_mean": gram_means, "gram_frobenius": gram_frobenius}


def images_of(*shape, seed=4):
    rng = np.random.default_rng(seed)
    return rng.random(shape, dtype=np.float32), rng.random(shape, dtype=np.float32)


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("size", [(4, 4), (12, 8), (9, 15), (7, 4)])
def test_it_is_the_error_of_gram_matrices_cut_to_whole_patches(kind, size):
    output, background = images_of(3, 3, *size)
    expected = REFERENCES[kind](255.0 * output, 255.0 * background)
    assert term_value(Texture(kind), output, background) == pytest.approx(expected, rel=1e-4)


def test_the_coded_form_is_blind_to_texture_and_the_written_one_is_not():
    """Pixels that change places inside each patch leave the sums of the patches as they are."""
    background, _ = images_of(1, 3, 16, 16)
    columns = patches(torch.from_numpy(background))
    order = torch.from_numpy(np.random.default_rng(0).permutation(48))
    shuffled = torch.nn.functional.pixel_shuffle(columns[:, order].unflatten(2, (4, 4)), 4).numpy()
    assert term_value(Texture(), shuffled, background) < 1e-6 * term_value(Texture(), 0.99 * background, background)
    assert term_value(Texture("gram_frobenius"), shuffled, background) > term_value(
        Texture("gram_frobenius"), 0.99 * background, background
    )


@pytest.mark.parametrize(
    ("error", "reference"), [(gram_mean_error, gram_means), (gram_frobenius_error, gram_frobenius)]
)
def test_small_errors_of_bright_images_are_not_lost_to_rounding(error, reference):
    """Subtracting one Gram matrix from the other in float32 is off by 1 % as written and by half as coded."""
    rng = np.random.default_rng(1)
    background = (200 + 25 * rng.random((1, 3, 64, 64))).astype(np.float32)
    output = (background + 0.0025 * rng.standard_normal(background.shape)).astype(np.float32)
    found = error(torch.from_numpy(output), torch.from_numpy(background)).item()
    assert found == pytest.approx(reference(output, background), rel=1e-3)


def test_variation_is_half_the_mean_squared_differences():
    images = np.random.default_rng(0).random((3, 2, 5, 7))
    expected = (np.square(np.diff(images, axis=2)).mean() + np.square(np.diff(images, axis=3)).mean()) / 2
    assert total_variation(torch.from_numpy(images)).item() == pytest.approx(expected, rel=1e-6)


LOSSES = {
    "ssim": lambda output, background: NegativeSSIM()(nn.Identity(), output, background),
    "edge": EdgeAware(),
    "gram_mean": Texture(),
    "gram_frobenius": Texture("gram_frobenius"),
    "variation": TotalVariationTerm(),
    "mse": PixelMSE(),
}


def rounded(x):
    """float32 to the 10 bits of mantissa that TensorFloat-32 keeps, half to even."""
    bits = x.detach().contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


class TensorFloat32(TorchDispatchMode):
    """Convolutions and their gradients as a GPU computes them by default: inputs of 10 bits, sums of float32."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default):
            args = [rounded(x) if isinstance(x, torch.Tensor) and x.dtype == torch.float32 else x for x in args]
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def bright_sky():
    """A sky of 0.93 to 0.95 with faint noise, and the same as a network restores it."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(2, 1, 3, 24, 24, generator=generator) / 1020
    ramp = torch.linspace(0.93, 0.95, 24)[:, None].expand(24, 24)
    return (ramp + noise[0]).clamp(0, 1), (ramp + noise[0] + noise[1] / 2).clamp(0, 1)


def gradient_of(loss, output, background):
    output = output.clone().requires_grad_()
    return torch.autograd.grad(loss(output, background), output)[0].double().flatten()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_on_a_bright_sky_are_those_of_float64(bright_sky, name, monkeypatch):
    background, output = bright_sky
    with TensorFloat32():
        found = gradient_of(LOSSES[name], output, background)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # losses bring their images to float32
    expected = gradient_of(LOSSES[name], output.double(), background.double())
    assert F.cosine_similarity(found, expected, dim=0) > 0.999
