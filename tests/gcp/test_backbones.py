"""Backbones: feature maps, strides, pretrained weights, and images too small for them."""

from __future__ import annotations

import re
import sys

import pytest
import torch
from torchvision import models

import gcp
from gcp.backbones.factory import feature_map_size
from gcp.backbones.registry import BACKBONES, register_backbone
from gcp.errors import MissingDependencyError, OptionError, ShapeError, UnknownNameError, WeightsError

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
           "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2")  # fmt: skip
CHANNELS = {"tiny": 64, "alexnet": 256, "resnet18": 512, "resnet34": 512, "inception_v3": 2048, "timm": 768}
CHANNELS |= {name: 2048 for name in RESNETS if name not in CHANNELS}
CHANNELS |= {name: 512 for name in gcp.list_backbones() if name.startswith("vgg")}
CHANNELS |= {"densenet121": 1024, "densenet161": 2208, "densenet169": 1664, "densenet201": 1920}
# Height of the map at 224 pixels, by the beginning of the name; 7 for all others.
HEIGHTS = {"tiny": 28, "alexnet": 13, "vgg": 14, "inception_v3": 5}


@pytest.mark.parametrize("name", gcp.list_backbones())
def test_the_feature_map_at_224_pixels(name):
    with torch.device("meta"):  # shapes without the arithmetic: the large ones cost nothing
        backbone = gcp.create_backbone(name)
        features = backbone(torch.empty(2, 3, 224, 224))
        assert feature_map_size(backbone, 224) == features.shape[2:]
    height = next((height for start, height in HEIGHTS.items() if name.startswith(start)), 7)
    assert features.shape == (2, backbone.num_features, height, height)
    assert backbone.num_features == CHANNELS[name]


@pytest.mark.parametrize("name", RESNETS)
def test_last_stride_doubles_the_map(name):
    with torch.device("meta"):
        assert feature_map_size(gcp.create_backbone(name, last_stride=1), 224) == (14, 14)


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d", "densenet121", "inception_v3"])
def test_it_is_torchvisions_network_without_its_head(name):
    arguments = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    backbone = gcp.create_backbone(name).eval()
    network = models.get_model(name, weights=None, **arguments).eval()
    head = list(network.children())[-1]
    own = list(backbone.state_dict().values())
    theirs = [key for key in network.state_dict() if not key.startswith(("fc.", "classifier."))]
    network.load_state_dict(dict(zip(theirs, own, strict=True)), strict=False)
    images = _images(76, count=1)
    with torch.no_grad():
        pooled = head(backbone(images).mean((2, 3)))
        assert torch.allclose(pooled, network(images), rtol=1e-4, atol=1e-5)  # float32, mean in another order


@pytest.mark.parametrize("name", ["vgg11", "vgg13_bn", "vgg16", "vgg19_bn"])
def test_vgg_is_torchvisions_without_the_last_pooling(name):
    with torch.device("meta"):
        network = models.get_model(name, weights=None).features
        backbone = gcp.create_backbone(name)
    assert [repr(layer) for layer in backbone] == [repr(layer) for layer in network[:-1]]
    assert list(backbone.state_dict()) == list(network.state_dict())


def _images(size, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


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


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_weights_come_from_a_local_file(tmp_path, name):
    """Wrapped, of a parallel network, with another number of classes and densenet's old names."""
    state = models.get_model(name, weights=None, num_classes=3).state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", f"module.{key}"): state[key] for key in state}
    torch.save({"epoch": 3, "state_dict": old}, tmp_path / "mine.pth")
    backbone = gcp.create_backbone(name, weights=str(tmp_path / "mine.pth"))
    theirs = [value for key, value in state.items() if not key.startswith(("fc.", "classifier."))]
    assert all(map(torch.equal, backbone.state_dict().values(), theirs))


def test_pretrained_inception_takes_imagenets_normalisation(tmp_path):
    """torchvision rescales the images before its pretrained network: here the first layer does."""
    network = models.inception_v3(weights=None, transform_input=True, init_weights=False).eval()
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    backbone = gcp.create_backbone("inception_v3", weights=str(tmp_path / "inception.pth")).eval()
    with torch.no_grad():
        logits = network.fc(backbone(_images(76, count=1)).mean((2, 3)))
        assert torch.allclose(logits, network(_images(76, count=1)), rtol=1e-4, atol=1e-5)


def test_a_file_of_weights_that_does_not_fit(tmp_path):
    torch.save(models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(WeightsError, match=r"resnet18\.pth are of another network \(.*missing, first "):
        gcp.create_backbone("resnet34", weights=str(tmp_path / "resnet18.pth"))
    with pytest.raises(WeightsError, match=r"weights from a file: no checkpoint file at gone\.pth"):
        gcp.create_backbone("vgg11", weights="gone.pth")


@pytest.mark.parametrize(
    ("name", "options", "first"),
    [("tiny", {}, 2), ("densenet121", {}, 5), ("timm", {"model": "test_convnext"}, 1)],
)
def test_what_is_frozen_stays_as_it_is(name, options, first):
    backbone = gcp.create_backbone(name, frozen=first, **options).train()
    stages = list(backbone.stages())
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    backbone(_images(64)).square().mean().backward()
    optimizer.step()
    assert not any(module.training for stage in stages[:first] for module in stage.modules())
    assert all(module.training for stage in stages[first:] for module in stage.modules())
    frozen = {id(value) for stage in stages[:first] for value in stage.state_dict(keep_vars=True).values()}
    for key, value in backbone.state_dict(keep_vars=True).items():
        if id(value) in frozen:
            assert torch.equal(value, before[key]), key
    changed = [key for key, value in backbone.state_dict(keep_vars=True).items() if not torch.equal(value, before[key])]
    assert changed


def test_frozen_stays_frozen_through_the_whole_networks_train():
    model = gcp.create_model("tiny", "pade", 3, backbone_options={"frozen": 9})
    assert not model.train().features[1].training
    assert model.classifier.training


def test_a_timm_model_is_its_features():
    import timm

    backbone = gcp.create_backbone("timm", model="test_convnext").eval()
    network = timm.create_model("test_convnext").eval()
    torch.nn.Module.load_state_dict(network, backbone.network.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.equal(backbone(_images(64)), network.forward_features(_images(64)))
    assert not any(key.startswith("head") for key, _ in backbone.network.named_parameters())


def test_tokens_become_a_map_of_patches():
    backbone = gcp.create_backbone("timm", model="test_vit").eval()
    images = _images(64)[:, :, :32]
    with torch.no_grad():
        features = backbone(images)
        tokens = backbone.network.forward_features(images)
    assert backbone.network.num_prefix_tokens == 1
    assert features.shape == (2, 64, 2, 4)
    assert torch.equal(features[:, :, 1, 2], tokens[:, 1 + 1 * 4 + 2])


def test_timm_weights_come_from_a_local_file(tmp_path):
    from safetensors.torch import save_file

    first = gcp.create_backbone("timm", model="test_vit")
    state = {**first.network.state_dict(), "head.weight": torch.zeros(7, 64), "head.bias": torch.zeros(7)}
    save_file(state, tmp_path / "model.safetensors")
    torch.save(state, tmp_path / "model.pth")
    for file in ("model.safetensors", "model.pth"):
        second = gcp.create_backbone("timm", model="test_vit", weights=str(tmp_path / file))
        assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:500])
    with pytest.raises(WeightsError, match=r"cut\.safetensors is no readable safetensors file"):
        gcp.create_backbone("timm", model="test_vit", weights=str(tmp_path / "cut.safetensors"))


def test_timm_itself_is_not_asked_for_weights():
    with pytest.raises(WeightsError, match=r"timm's weights are read from a local file; fetch those of test_vit from"):
        gcp.create_backbone("timm", model="test_vit", weights="DEFAULT")


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependencyError, match=r"extra timm; install it with: pip install '\.\[timm\]'"):
        gcp.create_backbone("timm")


def test_a_model_that_takes_one_size_only():
    backbone = gcp.create_backbone("timm", model="mixer_s32_224")
    with pytest.raises(ShapeError, match=r"mixer_s32_224 does not take images of 64x64"):
        feature_map_size(backbone, 64)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("resnt18", {}, UnknownNameError, r"did you mean 'resnet18'"),
        ("resnet18", {"last_strid": 1}, OptionError, r"did you mean 'last_stride'"),
        ("resnet18", {"last_stride": 3}, OptionError, r"last_stride must be one of 1, 2"),
        ("resnet18", {"weights": "IMAGENET1K_V7"}, WeightsError, r"torchvision has IMAGENET1K_V1, DEFAULT, or"),
        ("alexnet", {"weights": "DEFAULT"}, WeightsError, r"alexnet has no weights 'DEFAULT'"),
        ("tiny", {"width": 0}, OptionError, r"width must be at least 4"),
        ("resnet18", {"frozen": 9}, OptionError, r"frozen must be at most 8"),
        ("tiny", {"frozen": -1}, OptionError, r"frozen must be at least 0"),
        (
            "timm",
            {"model": "convnext_tyni"},
            UnknownNameError,
            r"has no model 'convnext_tyni' \(did you mean 'convnext_",
        ),
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


@pytest.mark.parametrize(
    ("name", "options", "frozen", "expected"),
    [
        ("resnet18", {}, "layer1", ["conv1", "bn1", "relu", "maxpool", "layer1"]),
        ("resnet18", {}, "layer2.0", ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2.0"]),
        ("timm", {"model": "tf_efficientnet_lite0"}, "blocks.1", ["conv_stem", "bn1", "blocks.0", "blocks.1"]),
        ("tiny", {}, "2", ["0", "1", "2"]),
    ],
)
def test_frozen_up_to_a_stage_by_its_name(name, options, frozen, expected):
    with torch.device("meta"):
        backbone = gcp.create_backbone(name, frozen=frozen, **options).train()
    modules = dict(backbone.named_modules())
    own = dict(backbone.named_stages())
    prefixes = {key: next(full for full, module in modules.items() if module is stage) for key, stage in own.items()}
    begun = tuple(f"{prefixes[key.split('.')[0]]}{key.removeprefix(key.split('.')[0])}." for key in expected)
    for key, parameter in backbone.named_parameters():
        assert parameter.requires_grad != key.startswith(begun), key
    for key, module in modules.items():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.training != f"{key}.".startswith(begun), key


def test_a_stage_that_is_not_there():
    with pytest.raises(
        UnknownNameError, match=r"no stage 'layer5' \(did you mean 'layer\d'\?\); the backbone has conv1, bn1"
    ):
        gcp.create_backbone("resnet18", frozen="layer5")
    with pytest.raises(UnknownNameError, match=r"no stage 'blocks\.7'"), torch.device("meta"):
        gcp.create_backbone("timm", model="tf_efficientnet_lite0", frozen="blocks.7")


@pytest.mark.parametrize(
    ("name", "options", "frozen"),
    [
        ("tiny", {"width": 8}, 4),
        ("timm", {"model": "test_efficientnet"}, "blocks.1"),
        ("timm", {"model": "test_resnet"}, 4),
    ],
)
def test_frozen_features_take_the_place_of_images(name, options, frozen):
    backbone = gcp.create_backbone(name, frozen=frozen, **options).train()
    with torch.no_grad():
        backbone(_images(64))  # statistics of the other batch norms
    features = backbone.frozen_features(_images(64))
    assert not features.requires_grad
    keys = list(backbone.state_dict())
    backbone.eval()
    whole = backbone(_images(64))
    backbone.skip_frozen()
    assert torch.equal(backbone(features), whole)
    assert list(backbone.state_dict()) == keys
    backbone.skip_frozen(False)
    assert torch.equal(backbone(_images(64)), whole)


def test_frozen_features_that_are_no_map():
    with pytest.raises(OptionError, match="no stage of the backbone is frozen"):
        gcp.create_backbone("tiny").frozen_features(_images(32))
    with pytest.raises(OptionError, match="gives no feature map"):
        gcp.create_backbone("timm", model="test_vit", frozen="blocks.0").frozen_features(_images(32))
