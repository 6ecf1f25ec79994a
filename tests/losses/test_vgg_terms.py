"""The terms on features of VGG-19 and VGG-16: against torchvision, and their weight files."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torchvision.models import vgg16, vgg19
from torchvision.transforms.functional import normalize

from slackoff.errors import SlackoffError
from slackoff.losses import Perceptual, VGG16Features
from slackoff.losses.vgg import activations, load_weights
from slackoff.sweep.identity import Fingerprints, cell_id

LAST = 18  # of torchvision's features: the ReLU after the fourth convolution before the third pooling


@pytest.fixture(scope="module")
def features():
    """Torchvision's network up to conv3_4, random weights, biases that count."""
    torch.manual_seed(3)
    network = vgg19(weights=None).features.eval()
    for layer in network:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.bias, std=0.05)
    return network


@pytest.fixture(scope="module")
def weights(features):
    return features.state_dict(prefix="features.")


@pytest.fixture(scope="module")
def root(weights, tmp_path_factory):
    """A folder with a file of the old format, such as torchvision's own."""
    folder = tmp_path_factory.mktemp("vgg19")
    torch.save(weights, folder / "vgg19-dcbb9e9d.pth", _use_new_zipfile_serialization=False)
    return folder


@pytest.fixture
def images():
    return torch.rand(2, 2, 3, 19, 24, generator=torch.Generator().manual_seed(0))


def test_features_are_those_of_torchvision(features, root, images):
    with torch.no_grad():
        expected = features[:LAST](images[0])
        found = activations(images[0], load_weights(root / "vgg19-dcbb9e9d.pth"))[-1]
    assert [type(layer).__name__ for layer in features[LAST - 2 : LAST + 1]] == ["Conv2d", "ReLU", "MaxPool2d"]
    assert found.shape == (2, 256, 4, 6)
    torch.testing.assert_close(found, expected)


def test_torchvision_weights_see_normalised_rgb(features, root, images):
    """In the unit of the images: what the first layer takes is 0.226 grey levels of 255."""
    with torch.no_grad():
        found, wanted = (features[:LAST](normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])) for x in images)
    expected = (255 * 0.226) ** 2 * F.mse_loss(found, wanted).item()
    assert Perceptual(str(root))(*images).item() == pytest.approx(expected, rel=1e-4)


def test_caffe_weights_see_blue_green_red_less_the_mean(features, root, images):
    with torch.no_grad():
        found, wanted = (
            features[:LAST](torch.stack([255 * x[:, 2] - 103.939, 255 * x[:, 1] - 116.779, 255 * x[:, 0] - 123.68], 1))
            for x in images
        )
    found = F.mse_loss(found, wanted).item()
    assert Perceptual(str(root), "caffe")(*images).item() == pytest.approx(found, rel=1e-4)


@pytest.mark.parametrize("name", ["vgg19-dcbb9e9d.pth", "vgg19-dcbb9e9d.safetensors", "named/model.safetensors"])
def test_all_formats_give_the_same_weights(weights, root, images, tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    found = Perceptual(str(path if "named" in name else tmp_path))
    assert found(*images).item() == Perceptual(str(root))(*images).item()
    assert found.fingerprint() == Perceptual(str(root)).fingerprint()


def test_weights_move_with_the_module_but_are_not_saved_or_trained(root, images):
    term = Perceptual(str(root))
    assert {tensor.device.type for tensor in term.to("meta").weights} == {"meta"}
    task = torch.nn.ModuleDict({"vgg": term})
    assert not task.state_dict()
    assert not list(task.parameters())
    background = images[1].requires_grad_()
    output = images[0].clone().requires_grad_()
    Perceptual(str(root))(output, background).backward()
    assert background.grad is None
    assert output.grad.abs().sum() > 0


def test_a_missing_file_is_named_with_its_place_and_key(tmp_path):
    sentence = (
        rf"weights of VGG-19 are not on disk and are never downloaded: put .*vgg19-dcbb9e9d\.pth or .* into {tmp_path},"
        r" or name the file or its folder with roots\.vgg19=PATH"
    )
    with pytest.raises(SlackoffError, match=sentence):
        Perceptual(str(tmp_path))
    with pytest.raises(SlackoffError, match=r"into a folder, or name .* with here=PATH"):
        Perceptual(None, key="here")


def test_files_of_something_else_are_refused(weights, tmp_path):
    path = tmp_path / "vgg19-dcbb9e9d.pth"
    for content in (b"", b"<html>not found</html>"):
        path.write_bytes(content)
        with pytest.raises(SlackoffError, match=rf"{path} is no weight file .*, it is (empty|a page of the internet)"):
            Perceptual(str(tmp_path))
    for without in ("features.0.weight", "features.16.bias"):
        torch.save({name: tensor for name, tensor in weights.items() if name != without}, path)
        with pytest.raises(SlackoffError, match=rf"{path} has no {without} of shape"):
            Perceptual(str(tmp_path))
    torch.save(weights | {"features.5.weight": torch.zeros(128, 64, 1, 1)}, path)
    with pytest.raises(SlackoffError, match=r"no features\.5\.weight of shape \(128, 64, 3, 3\): it must be VGG-19"):
        Perceptual(str(tmp_path))


class Touches:
    """An object that makes a file when it is unpickled by a loader that runs code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_code_in_a_file_is_not_run(weights, tmp_path):
    path, touched = tmp_path / "vgg19-dcbb9e9d.pth", tmp_path / "touched"
    torch.save(weights | {"extra": Touches(str(touched))}, path)
    with pytest.raises(SlackoffError, match="holds something else than tensors"):
        Perceptual(str(tmp_path))
    assert not touched.exists()
    torch.load(path, weights_only=False)
    assert touched.exists()


def test_a_file_that_was_loaded_may_go(weights, images, tmp_path):
    path = tmp_path / "vgg19-dcbb9e9d.pth"
    torch.save(weights, path)
    term = Perceptual(str(path))
    before = term(*images).item()
    path.write_bytes(np.zeros(path.stat().st_size, np.uint8).tobytes())
    assert term(*images).item() == before


RELUS = (3, 8, 15)
"""Places of relu1_2, relu2_2 and relu3_3 in torchvision's features."""


@pytest.fixture(scope="module")
def features16():
    torch.manual_seed(3)
    with torch.device("meta"):
        network = vgg16(weights=None).features[: RELUS[-1] + 1]
    network = network.to_empty(device="cpu")
    for layer in network:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
            torch.nn.init.normal_(layer.bias, std=0.05)
    return network


@pytest.fixture
def root16(features16, tmp_path):
    torch.save(features16.state_dict(prefix="features."), tmp_path / "vgg16-397923af.pth")
    return tmp_path


def test_the_term_of_vgg16_is_the_mean_error_of_three_layers(features16, root16):
    output, background = torch.rand(2, 2, 3, 18, 21)
    term = VGG16Features(str(root16))
    errors = [F.mse_loss(features16[: place + 1](output), features16[: place + 1](background)) for place in RELUS]
    assert [type(features16[place]).__name__ for place in RELUS] == ["ReLU"] * 3
    assert term(output, background).item() == pytest.approx(sum(errors).item() / 3, rel=1e-5)
    assert list(term.parameters()) == []
    assert term.state_dict() == {}
    assert len(term.fingerprint()) == 64


def test_weights_that_are_absent_or_not_of_vgg16_are_refused(features16, root16, tmp_path):
    with pytest.raises(
        SlackoffError, match=r"weights of VGG-16 are not on disk .* vgg16-397923af\.pth .* roots\.vgg16="
    ):
        VGG16Features(str(tmp_path / "other"))
    tensors = features16.state_dict(prefix="features.")
    nineteen = tensors | {"features.16.weight": torch.zeros(256, 256, 3, 3), "features.16.bias": torch.zeros(256)}
    torch.save(nineteen, root16 / "vgg16-397923af.pth")
    with pytest.raises(SlackoffError, match=r"holds the weights of VGG-19: VGG-16 is needed"):
        VGG16Features(str(root16))
    tensors.pop("features.14.bias")
    torch.save(tensors, root16 / "vgg16-397923af.pth")
    with pytest.raises(SlackoffError, match=r"no features\.14\.bias of shape \(256,\): it must be VGG-16"):
        VGG16Features(str(root16))


@pytest.fixture
def identity(composed):
    """Of a cell with the VGG-19 loss, the weights at the given place."""

    def of(place):
        config = composed("+terms@task.terms=pixel_vgg", f"roots.vgg19={place}")
        plain = OmegaConf.to_container(config, resolve=True)
        return cell_id(plain, Fingerprints().of(plain))

    return of


def test_the_identity_of_a_cell_follows_the_weights_and_not_the_file(identity, weights, tmp_path):
    torch.save(weights, tmp_path / "vgg19-dcbb9e9d.pth")
    torch.save(weights, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(weights | {"features.0.bias": weights["features.0.bias"] + 1}, tmp_path / "other.pth")
    first = identity(tmp_path)
    assert identity(tmp_path / "old.pth") == first
    assert identity(tmp_path / "other.pth") != first


def test_weights_that_are_missing_are_a_problem_of_the_sweep(composed, tmp_path):
    plain = OmegaConf.to_container(composed("+terms@task.terms=pixel_vgg", f"data_root={tmp_path}"), resolve=True)
    with pytest.raises(SlackoffError, match=r"weights of VGG-19 are not on disk"):
        Fingerprints().of(plain)
    looking = Fingerprints(missing_allowed=True)
    assert looking.provisional(looking.of(plain))
