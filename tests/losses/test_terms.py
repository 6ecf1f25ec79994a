"""What every term promises."""

import pytest
import torch
from torchvision.models import vgg19

from slackoff.config import build
from slackoff.errors import SlackoffError
from slackoff.losses import EdgeAware, Perceptual, PixelL1, PixelMSE, Term, Texture, TotalVariationTerm
from slackoff.losses.terms import total_variation

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
        unscaled = make(name, scale=1.0)(*images)
        assert make(name)(*images).item() == pytest.approx(255.0 ** DEGREES[name] * unscaled.item(), rel=1e-4)

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
        torch.testing.assert_close(gradient, output.grad, rtol=0, atol=0)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_images_are_compared_in_float32(self, make, images, name, dtype):
        halves = [batch.to(dtype) for batch in images]
        found = make(name)(*halves)
        assert found.dtype == torch.float32
        assert found.isfinite()
        assert found.item() == make(name)(*(batch.float() for batch in halves)).item()

    def test_its_gradient_reaches_the_output_and_nothing_of_its_own(self, make, images, name):
        term, output = make(name), images[0].requires_grad_()
        term(output, images[1]).backward()
        assert output.grad.isfinite().all()
        assert output.grad.abs().sum() > 0
        assert not list(term.parameters())
        assert not term.state_dict()

    def test_the_truth_costs_nothing(self, make, images, name):
        if name != "variation":
            assert make(name)(images[1], images[1]).item() == 0

    def test_images_that_do_not_fit_are_refused(self, make, images, name):
        term = make(name)
        for output in (images[0][:1], images[0][..., :-1], images[0][:, :1], images[0][0], images[0].byte()):
            with pytest.raises(SlackoffError, match=r"^\w+ compares RGB images of one shape, .* but the output is "):
                term(output, images[1])
        with pytest.raises(SlackoffError, match=r"output is float32 \(0, 3, 13, 18\)"):
            term(images[0][:0], images[1][:0])

    def test_images_that_are_too_small_are_refused(self, make, name):
        term = make(name)
        side = term.least_side
        smallest = torch.rand(2, 1, 3, side, side)
        assert term(*smallest).isfinite()
        if side > 1:
            sentence = rf"needs images of at least {side} x {side} px, not {side} x {side - 1}: raise background\.patch"
            with pytest.raises(SlackoffError, match=sentence):
                term(*smallest[..., :-1])

    @pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_scale_that_is_none_is_refused(self, make, name, scale):
        with pytest.raises(SlackoffError, match=r"scale=.* must be a finite number above 0"):
            make(name, scale=scale)

    def test_it_can_be_checked_without_computing_anything(self, make, images, name):
        with torch.device("meta"):
            found = make(name)(*(torch.empty(batch.shape) for batch in images))
        assert found.shape == ()


def test_total_variation_is_that_of_the_output_in_grey_levels(images):
    found = TotalVariationTerm()(*images)
    assert found.item() == pytest.approx(255.0**2 * total_variation(images[0]).item(), rel=1e-6)


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
