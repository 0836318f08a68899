"""The whole network: shapes for every pair, channel reduction, gradients to the first layer, reference logits."""

from __future__ import annotations

import functools
import json

import pytest
import torch

import gcp
from gcp.errors import OptionError
from gcp.model import PoolingNetwork
from gcp.pooling.factory import ReducedPooling
from tests.conftest import ROOT
from tests.reference.deterministic_weights import fill, images

# One of each family, its options, and the smallest size that leaves a map of more than one position.
FAMILIES = {
    "tiny": ("tiny", {"width": 16}, 16),
    "resnet18": ("resnet18", {}, 64),
    "alexnet": ("alexnet", {}, 64),
    "vgg11_bn": ("vgg11_bn", {}, 32),
    "densenet121": ("densenet121", {}, 64),
    "inception_v3": ("inception_v3", {}, (75, 107)),
    "timm ConvNet": ("timm", {"model": "test_convnext"}, 64),
    "timm ViT": ("timm", {"model": "test_vit"}, 32),
}


def build(family, method):
    name, options, _ = FAMILIES[family]
    return gcp.create_model(name, method, 5, reduced_channels=8, backbone_options=options, hidden=(6,))


def images_for(family):
    size = FAMILIES[family][2]
    height, width = size if isinstance(size, tuple) else (size, size)
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@functools.cache
def map_of(family):
    """The family's feature map of two images, made once: what pairs with it is a method."""
    name, options, _ = FAMILIES[family]
    torch.manual_seed(0)
    with torch.no_grad():
        return gcp.create_backbone(name, **options)(images_for(family))


@pytest.mark.parametrize("method", gcp.list_methods())
@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_pools_the_map_of_every_family(family, method):
    """The map stands in for the backbone, through which `test_every_family_trains_and_keeps_its_state` goes."""
    features = map_of(family).clone().requires_grad_()
    pooling = gcp.create_pooling(method, features.shape[1], reduced_channels=8)
    model = PoolingNetwork(torch.nn.Identity(), pooling, torch.nn.Linear(pooling.out_features, 5))
    assert pooling(features).shape == (2, pooling.out_features)
    model(features).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in [*model.parameters(), features])
    assert features.grad.abs().sum() > 0
    again = PoolingNetwork(torch.nn.Identity(), gcp.create_pooling(method, features.shape[1], reduced_channels=8),
                           torch.nn.Linear(pooling.out_features, 5))  # fmt: skip
    again.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(features), again.eval()(features))


@pytest.mark.parametrize(("family", "method"), [*((family, "pade") for family in FAMILIES), ("tiny", "average")])
def test_every_family_trains_and_keeps_its_state(family, method):
    torch.manual_seed(0)
    model, images = build(family, method), images_for(family)
    logits = model(images)
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert next(model.features.parameters()).grad.abs().sum() > 0
    again = build(family, method)
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model.eval()(images), again.eval()(images))


@pytest.mark.parametrize(
    ("backbone", "hidden", "kinds"),
    [
        ("alexnet", None, ["Linear", "ReLU", "Linear", "ReLU", "Linear"]),
        ("vgg11", None, ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]),
        ("vgg11", (32,), ["Linear", "ReLU", "Dropout", "Linear"]),
        ("resnet18", (32,), ["Linear", "ReLU", "Linear"]),
    ],
)
def test_hidden_layers_of_the_classifier(backbone, hidden, kinds):
    with torch.device("meta"):
        model = gcp.create_model(backbone, "pade", num_classes=7, hidden=hidden)
    assert [type(layer).__name__ for layer in model.classifier] == kinds
    widths = [layer.out_features for layer in model.classifier if isinstance(layer, torch.nn.Linear)]
    assert widths == [*(hidden or (4096, 4096)), 7]
    assert model.classifier[0].in_features == model.representation.out_features


def test_no_hidden_layers_with_pretrained_weights_or_on_request(tmp_path):
    torch.save({f"features.{key}": value for key, value in gcp.create_backbone("vgg11").state_dict().items()},
               tmp_path / "vgg11.pth")  # fmt: skip
    options = {"weights": str(tmp_path / "vgg11.pth")}
    pretrained = gcp.create_model("vgg11", "pade", 7, reduced_channels=8, backbone_options=options)
    asked = gcp.create_model("vgg11", "pade", 7, reduced_channels=8, hidden=())
    assert isinstance(pretrained.classifier, torch.nn.Linear)
    assert isinstance(asked.classifier, torch.nn.Linear)
    with pytest.raises(OptionError, match=r"hidden widths must be at least 1, got \[0\]"):
        gcp.create_model("tiny", "pade", 7, hidden=[0])


@pytest.mark.parametrize(
    ("backbone", "method", "reduced", "features"),
    [
        ("resnet18", "pade", "default", 256 * 257 // 2),
        ("alexnet", "pade", "default", 256 * 257 // 2),
        ("tiny", "pade", "default", 64 * 65 // 2),  # fewer channels than 256: not reduced
        ("tiny", "pade", 16, 16 * 17 // 2),
        ("resnet18", "pade", None, 512 * 513 // 2),
        ("resnet18", "average", "default", 512),
        ("resnet18", "average", 16, 16),
    ],
)
def test_channel_reduction(backbone, method, reduced, features):
    model = gcp.create_model(backbone, method, num_classes=2, reduced_channels=reduced, hidden=())
    assert model.classifier.in_features == model.representation.out_features == features
    expected = reduced == 16 or (reduced == "default" and method == "pade" and backbone != "tiny")
    assert isinstance(model.representation, ReducedPooling) == expected


def test_logits_of_the_reference_network():
    """Deterministic weights and images of `tests/reference`; 1e-4 for float32 through 18 layers in another order."""
    model = gcp.create_model("resnet18", "pade", num_classes=10).eval()
    renamed = {
        key.replace("representation.reduction", "representation.conv_dr_block"): value
        for key, value in model.state_dict().items()
    }
    fill(renamed)
    expected = json.loads((ROOT / "tests/reference/logits_resnet18_pade.json").read_text())["resnet18/SVD_Pade/128"]
    with torch.no_grad():
        assert torch.allclose(model(images(2, 128)), torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_options_and_mistakes():
    model = gcp.create_model("resnet18", "taylor", 3, backbone_options={"last_stride": 1}, degree=4)
    assert "degree=4" in repr(model.representation)
    with pytest.raises(OptionError, match="num_classes must be at least 1"):
        gcp.create_model("tiny", "pade", 0)
    with pytest.raises(OptionError, match="reduced_channels must be a whole number of at least 1"):
        gcp.create_model("tiny", "pade", 2, reduced_channels=0)
    with pytest.raises(OptionError, match="'pade' has no option 'degree'"):
        gcp.create_model("tiny", "pade", 2, degree=4)


@pytest.mark.parametrize("method", gcp.list_methods())
def test_inference_mode_changes_nothing(method):
    """Lightning evaluates in inference mode, which belongs to a thread, as the pool's threads must know."""
    torch.manual_seed(0)
    model = gcp.create_model("tiny", method, num_classes=5).eval()
    x = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        inferred = model(x)
    with torch.no_grad():
        assert torch.equal(inferred, model(x))
