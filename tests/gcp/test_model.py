"""The whole network: shapes for every pair, channel reduction, gradients to the first layer, reference logits."""

from __future__ import annotations

import json

import pytest
import torch

import gcp
from gcp.errors import OptionError
from gcp.pooling.reduction import ReducedPooling
from tests.conftest import ROOT
from tests.reference.deterministic_weights import fill, images


@pytest.mark.parametrize("method", gcp.list_methods())
@pytest.mark.parametrize(("backbone", "size"), [("tiny", 32), ("resnet18", 64), ("alexnet", 96)])
def test_every_pair_trains_and_keeps_its_state(backbone, size, method):
    torch.manual_seed(0)
    model = gcp.create_model(backbone, method, num_classes=5, reduced_channels=16)
    logits = model(torch.randn(2, 3, size, size))
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert next(model.features.parameters()).grad.abs().sum() > 0
    again = gcp.create_model(backbone, method, num_classes=5, reduced_channels=16)
    again.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, size, size)
    assert torch.equal(model.eval()(x), again.eval()(x))


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
    model = gcp.create_model(backbone, method, num_classes=2, reduced_channels=reduced)
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
