"""The examples in docstrings give what they show, and every public function has one."""

from __future__ import annotations

import doctest
import inspect
import pkgutil
from importlib import import_module

import pytest
import torch

import gcp
from gcp.backbones.registry import BACKBONES
from gcp.methods import METHODS

MODULES = ["gcp", *(module.name for module in pkgutil.walk_packages(gcp.__path__, "gcp."))]
# Beside gcp.__all__: what one reaches for when reading or extending the library.
OPEN = (
    "gcp.checkpoints.layouts", "gcp.class_token", "gcp.conditioning", "gcp.covariance", "gcp.diagnostics", "gcp.errors",
    "gcp.estimate", "gcp.features", "gcp.fixed_whitening", "gcp.functions", "gcp.methods", "gcp.moments", "gcp.options",
    "gcp.pooling.bilinear", "gcp.pooling.factory", "gcp.pooling.triangle", "gcp.position_weights", "gcp.registry",
    "gcp.rounding", "gcp.scaling", "gcp.spectral.maps.lookup",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    torch.manual_seed(0)
    for registry in (METHODS, BACKBONES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(import_module(name)).failed == 0


def public():
    yield from (getattr(gcp, name) for name in gcp.__all__)
    yield from (getattr(gcp.linalg, name) for name in gcp.linalg.__all__)
    for module in filter(lambda name: name.startswith(OPEN), MODULES):
        for name, function in inspect.getmembers(import_module(module), inspect.isfunction):
            if function.__module__ == module and not name.startswith("_"):
                yield function


def test_every_public_function_has_an_example():
    without = {f"{part.__module__}.{part.__name__}" for part in public() if ">>>" not in (part.__doc__ or "")}
    assert without == {"gcp.errors.GCPError"}  # the base of the errors, which nobody raises
