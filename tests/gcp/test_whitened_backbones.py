"""whitening=first: on every backbone that has a batch norm, with weights from anywhere; refused elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision import models

import gcp
from gcp import Whitening
from gcp.backbones.registry import BACKBONES, BackboneOptions
from gcp.errors import OptionError, WeightsError

OURS = [name for name in gcp.list_backbones() if issubclass(BACKBONES.get(name).options, BackboneOptions)]
FAMILIES = ("tiny", "alexnet", "vgg11", "vgg11_bn", "resnet18", "densenet121", "inception_v3", "timm")
WITHOUT = {f"vgg{depth}" for depth in (11, 13, 16, 19)} | {"timm"}  # timm's default model has layer norms


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAMILIES else pytest.mark.slow) for name in OURS]
)
def test_the_norm_behind_the_first_convolution_whitens(name):
    with torch.device("meta"):
        if name in WITHOUT:
            with pytest.raises(OptionError, match=f"backbone {name} cannot be whitened: .* no batch normalisation"):
                gcp.create_backbone(name, whitening="first")
            return
        backbone, plain = gcp.create_backbone(name, whitening="first"), gcp.create_backbone(name)
        assert backbone(torch.empty(2, 3, 224, 224)).shape == plain(torch.empty(2, 3, 224, 224)).shape
    layers = [each for each in backbone.modules() if isinstance(each, (nn.Conv2d, nn.modules.batchnorm._BatchNorm))]
    assert [type(each) for each in layers[:2]] == [nn.Conv2d, Whitening]
    assert sum(isinstance(each, Whitening) for each in layers) == 1
    assert list(dict(backbone.named_parameters())) == list(dict(plain.named_parameters()))


@pytest.mark.parametrize(("model", "fits"), [("resnet18", True), ("test_efficientnet", False)])
def test_models_of_timm(model, fits):
    if fits:
        backbone = gcp.create_backbone("timm", model=model, whitening="first")
        assert isinstance(backbone.network.bn1, Whitening)
    else:
        with pytest.raises(OptionError, match="BatchNormAct2d, which may do more than normalise"):
            gcp.create_backbone("timm", model=model, whitening="first")


def test_published_weights_are_taken_over(tmp_path):
    network = models.resnet18(weights=None)
    network(torch.randn(8, 3, 64, 64))
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    weights = str(tmp_path / "resnet18.pth")
    whitened, plain = (
        gcp.create_backbone("resnet18", weights=weights, whitening=whitening).eval() for whitening in ("first", None)
    )
    assert torch.equal(whitened[1].running_covariance[0], plain[1].running_var.diag())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():  # but for eps, which is 1e-3 of the mean variance
        assert torch.allclose(whitened(images), plain(images), rtol=0.01, atol=0.01)


def test_weights_of_runs_with_and_without(tmp_path):
    for name, options in (("whitened", {"whitening": "first"}), ("plain", {})):
        backbone = gcp.create_backbone("tiny", width=8, **options)
        backbone(torch.randn(8, 3, 16, 16))
        state = {f"model.features.{key}": value for key, value in backbone.state_dict().items()}
        torch.save({"state_dict": state}, tmp_path / f"{name}.ckpt")
    again = gcp.create_backbone("tiny", width=8, whitening="first", weights=str(tmp_path / "whitened.ckpt"))
    stored = torch.load(tmp_path / "whitened.ckpt")["state_dict"]
    assert all(torch.equal(value, stored[f"model.features.{key}"]) for key, value in again.state_dict().items())
    begun = gcp.create_backbone("tiny", width=8, whitening="first", weights=str(tmp_path / "plain.ckpt"))
    stored = torch.load(tmp_path / "plain.ckpt")["state_dict"]
    assert torch.equal(begun[1].running_covariance[0].diagonal(), stored["model.features.1.running_var"])
    with pytest.raises(WeightsError, match="1 missing, first 1"):
        gcp.create_backbone("tiny", width=8, weights=str(tmp_path / "whitened.ckpt"))


def test_what_is_frozen_keeps_its_covariance():
    backbone = gcp.create_backbone("tiny", width=8, whitening="first", frozen=2).train()
    before = backbone[1].running_covariance.clone()
    backbone(torch.randn(8, 3, 16, 16))
    assert torch.equal(backbone[1].running_covariance, before)
