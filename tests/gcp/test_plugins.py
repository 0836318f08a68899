"""Methods and backbones of a user's own that do not do what they have to: a sentence says what."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

import gcp
from gcp.backbones.factory import feature_map_size
from gcp.backbones.registry import BACKBONES
from gcp.errors import CheckpointError, PluginError
from gcp.methods import METHODS
from gcp.spectral.loewner import Loewner
from gcp.tensor_files import read_file


@pytest.fixture(autouse=True)
def _gone_afterwards(monkeypatch):
    for registry in (METHODS, BACKBONES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (lambda spectrum, options: torch.ones(3, 3), r"must return a matrix .* got \(3, 3\)"),
        (lambda spectrum, options: None, "got NoneType"),
        (lambda spectrum, options: (spectrum.divided_differences(), 3), "weights of the trace .* and int"),
        (lambda spectrum, options: Loewner(torch.ones(2, 2)), r"must return a matrix \(\.\.\., "),
    ],
)
def test_a_kernel_that_returns_something_else(kernel, message):
    gcp.register_method("mine", kernel=kernel)
    features = torch.randn(2, 6, 3, 3, requires_grad=True)
    with pytest.raises(PluginError, match=message):
        gcp.create_pooling("mine", 6)(features).sum().backward()


def test_a_target_that_is_not_there():
    for target in ("no.such.module:thing", "gcp.methods.pade:nothing"):
        gcp.register_method(target[:2], kernel=target)
        with pytest.raises(PluginError, match="there is no"):
            gcp.create_pooling(target[:2], 6)


class NoSize(nn.Module):
    def __init__(self, channels, info, options):
        super().__init__()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (NoSize, "must have the attribute out_features"),
        (lambda channels, info, options: 3, "must be an nn.Module, its builder gave int"),
        (lambda: None, "its builder does not take"),
    ],
)
def test_a_layer_that_is_none(layer, message):
    gcp.register_method("mine", layer=layer)
    with pytest.raises(PluginError, match=message):
        gcp.create_pooling("mine", 6)


def test_a_backbone_that_is_none():
    gcp.register_backbone("mine", lambda info, options: nn.Conv2d(3, 8, 3))
    with pytest.raises(PluginError, match="must have the attribute num_features"):
        gcp.create_backbone("mine")
    flat = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten())
    flat.num_features = 8
    with pytest.raises(PluginError, match="must map images to"):
        feature_map_size(flat, 16)


def test_torchs_advice_to_run_code_from_a_file_is_not_passed_on(tmp_path):
    (tmp_path / "code.ckpt").write_bytes(pickle.dumps(print))
    torch.save({"a": nn.Linear(2, 2)}, tmp_path / "object.ckpt")
    (tmp_path / "text.ckpt").write_text("text")
    for name in ("code", "object", "text"):
        with pytest.raises(CheckpointError) as caught:
            read_file(tmp_path / f"{name}.ckpt")
        assert "weights_only" not in str(caught.value)
        assert "can still be loaded" not in str(caught.value)
