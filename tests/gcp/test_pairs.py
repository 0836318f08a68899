"""Every method on every family of backbones: forward, backward, state dict, at the smallest sensible image."""

from __future__ import annotations

import pytest
import torch

import gcp

FAMILIES = {
    "resnet18": (64, {}),
    "alexnet": (96, {}),
    "vgg11_bn": (32, {}),
    "densenet121": (64, {}),
    "inception_v3": (107, {}),  # two positions each way
    "timm-convnet": (64, {"model": "test_convnext"}),
    "timm-vit": (160, {"model": "test_vit"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", gcp.list_methods())
@pytest.mark.parametrize("family", FAMILIES)
def test_pair(family, method):
    torch.manual_seed(0)
    size, options = FAMILIES[family]
    name = family.split("-")[0]
    model, again = (
        gcp.create_model(name, method, num_classes=3, reduced_channels=8, backbone_options=options, hidden=[])
        for _ in range(2)
    )
    x = torch.randn(2, 3, size, size)
    pooled = model.representation(model.features(x))
    assert pooled.shape == (2, model.representation.out_features)
    model.classifier(pooled).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model.eval()(x), again.eval()(x))
