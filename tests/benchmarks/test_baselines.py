"""The baselines are right, so that being faster than them means something."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks.baselines.classical import CLASSICAL_ROOTS, ClassicalPooling
from benchmarks.baselines.isqrt import ISqrtPooling
from benchmarks.baselines.plain import AutogradPooling, by_eigh, by_svd
from gcp.methods import METHODS
from gcp.pooling.factory import create_pooling

SPECTRAL = [name for name in METHODS.names() if METHODS.get(name).kernel is not None]


@pytest.fixture
def features() -> Tensor:
    """Full rank, well conditioned, eigenvalues well apart."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 8, 8, 8, generator=generator, dtype=torch.float64)
    return noise * torch.linspace(1, 3, 8, dtype=torch.float64)[:, None, None]


def value_and_gradient(layer: nn.Module, features: Tensor) -> tuple[Tensor, Tensor]:
    features = features.clone().requires_grad_()
    value = layer(features)
    weights = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).reshape(value.shape)
    return value.detach(), torch.autograd.grad(value, features, weights)[0]


@pytest.mark.parametrize("method", SPECTRAL)
def test_transcription_agrees_with_the_method(method: str, features: Tensor) -> None:
    if method not in CLASSICAL_ROOTS:
        pytest.skip(f"'{method}' has no transcription in benchmarks/baselines/classical.py")
    ours = value_and_gradient(create_pooling(method, 8, precision="float64"), features)
    theirs = value_and_gradient(ClassicalPooling(method), features)
    torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=1e-11)


def test_every_transcription_is_of_a_method() -> None:
    assert set(CLASSICAL_ROOTS) <= set(SPECTRAL)


@pytest.mark.parametrize("square_root", [by_eigh, by_svd])
def test_plain_autograd_is_exact(square_root, features: Tensor) -> None:
    ours = value_and_gradient(create_pooling("lyapunov", 8, precision="float64"), features)
    torch.testing.assert_close(value_and_gradient(AutogradPooling(square_root), features), ours, rtol=1e-9, atol=1e-11)


def newton_schulz_by_autograd(features: Tensor, steps: int) -> Tensor:
    centred = features.flatten(2) - features.flatten(2).mean(-1, keepdim=True)
    covariance = centred @ centred.mT / centred.shape[-1]
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    Y, Z = covariance / trace, torch.eye(8, dtype=torch.float64)
    for _ in range(steps):
        W = 1.5 * torch.eye(8, dtype=torch.float64) - Z @ Y / 2
        Y, Z = Y @ W, W @ Z
    row, column = torch.triu_indices(8, 8)
    return (Y * trace.sqrt())[:, row, column]


@pytest.mark.parametrize("steps", [2, 5])
def test_isqrt_agrees_with_autograd(steps: int, features: Tensor) -> None:
    class Reference(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return newton_schulz_by_autograd(features, steps)

    expected = value_and_gradient(Reference(), features)
    torch.testing.assert_close(value_and_gradient(ISqrtPooling(torch.float64, steps), features), expected)
