"""Backbones: feature maps, strides, pretrained weights, and images too small for them."""

from __future__ import annotations

import pytest
import torch
from torchvision import models

import gcp
from gcp.backbones.factory import feature_map_size
from gcp.backbones.registry import BACKBONES, register_backbone
from gcp.errors import OptionError, ShapeError, UnknownNameError, WeightsError

SMALLEST = {"alexnet": 96}
CHANNELS = {"tiny": 64, "alexnet": 256, "resnet18": 512, "resnet34": 512, "resnet50": 2048, "resnet101": 2048}


@pytest.mark.parametrize("name", [name for name in gcp.list_backbones() if name != "resnet152"])
def test_the_feature_map_has_the_channels_it_says(name):
    backbone = gcp.create_backbone(name)
    size = SMALLEST.get(name, 64)
    features = backbone(torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)))
    assert features.shape[:2] == (2, backbone.num_features)
    assert backbone.num_features == CHANNELS[name]
    assert features.shape[2:] == feature_map_size(backbone, size)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("alexnet", {}, 13),
        ("resnet18", {}, 7),
        ("resnet18", {"last_stride": 1}, 14),
        ("resnet50", {}, 7),
        ("resnet50", {"last_stride": 1}, 14),
        ("tiny", {}, 28),
    ],
)
def test_size_of_the_map_at_224_pixels(name, options, size):
    assert feature_map_size(gcp.create_backbone(name, **options), 224) == (size, size)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_resnet_is_torchvisions_without_its_head(name):
    backbone = gcp.create_backbone(name).eval()
    network = models.get_model(name, weights=None).eval()
    own = list(backbone.state_dict().values())
    theirs = {key: value for key, value in network.state_dict().items() if not key.startswith("fc.")}
    network.load_state_dict(dict(zip(theirs, own, strict=True)), strict=False)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pooled = network.fc(backbone(images).mean((2, 3)))
        assert torch.allclose(pooled, network(images), rtol=1e-5, atol=1e-6)  # float32, mean in another order


def test_alexnet_has_batch_norm_and_no_dropout():
    kinds = [type(module).__name__ for module in gcp.create_backbone("alexnet").modules()]
    assert kinds.count("Conv2d") == kinds.count("BatchNorm2d") == 5
    assert "Dropout" not in kinds


def test_weights_come_from_torchvisions_file(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub/checkpoints"
    folder.mkdir(parents=True)
    state = models.resnet18(weights=None).state_dict()
    torch.save(state, folder / "resnet18-f37072fd.pth")
    backbone = gcp.create_backbone("resnet18", weights="IMAGENET1K_V1")
    assert torch.equal(backbone[0].weight, state["conv1.weight"])


def test_weights_without_network_say_which_file_goes_where(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=rf"put the file resnet18-f37072fd\.pth .* into {tmp_path}/hub/checkpoints"):
        gcp.create_backbone("resnet18", weights="DEFAULT")


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("resnt18", {}, UnknownNameError, r"did you mean 'resnet18'"),
        ("resnet18", {"last_strid": 1}, OptionError, r"did you mean 'last_stride'"),
        ("resnet18", {"last_stride": 3}, OptionError, r"last_stride must be one of 1, 2"),
        ("resnet18", {"weights": "IMAGENET1K_V7"}, WeightsError, r"torchvision has IMAGENET1K_V1, DEFAULT"),
        ("alexnet", {"weights": "DEFAULT"}, OptionError, r"has no option 'weights'"),
        ("tiny", {"width": 0}, OptionError, r"width must be at least 4"),
    ],
)
def test_mistakes(name, options, error, message):
    with pytest.raises(error, match=message):
        gcp.create_backbone(name, **options)


@pytest.mark.parametrize(("name", "size"), [("alexnet", 16), ("resnet18", 32), ("tiny", 8)])
def test_images_too_small(name, size):
    backbone = gcp.create_backbone(name).train()
    with pytest.raises(ShapeError, match=f"images of {size}x{size} are too small"):
        feature_map_size(backbone, size)
    assert backbone.training


def test_a_backbone_of_ones_own(monkeypatch):
    monkeypatch.setattr(BACKBONES, "_entries", dict(BACKBONES._entries))

    def build(info, options):
        layer = torch.nn.Conv2d(3, 6, 3)
        layer.num_features = 6
        return layer

    register_backbone("mine", build)
    model = gcp.create_model("mine", "pade", num_classes=4)
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 4)
