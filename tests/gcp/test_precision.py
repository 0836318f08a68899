"""The oracle against 50 digits, and the precisions against the oracle; the whole table is benchmarks/precision.py."""

from __future__ import annotations

import mpmath
import pytest
import torch
from torch import Tensor

from benchmarks.precision import LIMITS, METHODS, error, features
from tests.gcp.helpers import forward_backward, grad_out, noise, pooling, relative_error, symmetric


def fifty_digits(x: Tensor, gradient: Tensor) -> Tensor:
    """dℓ/dx (C, N) for x (C, N) by U (L o A) U^T with L = 1/(sqrt lam_i + sqrt lam_j), in mpmath."""
    channels, positions = x.shape
    with mpmath.workdps(50):
        X = mpmath.matrix(x.tolist())
        for i in range(channels):
            mean = mpmath.fsum(X[i, :]) / positions
            for j in range(positions):
                X[i, j] = (X[i, j] - mean) / mpmath.sqrt(positions)
        lam, U = mpmath.eigsy(X * X.T)
        roots = [mpmath.sqrt(abs(value)) for value in lam]
        A = U.T * mpmath.matrix(symmetric(gradient, channels).tolist()) * U
        for i in range(channels):
            for j in range(channels):
                total = roots[i] + roots[j]
                # null eigenvalues are 1e-50 here; pairs of them never reach x
                A[i, j] = A[i, j] / total if total > 1e-15 else mpmath.mpf(0)
        S = 2 * U * A * U.T * X
        rows = [[float(S[i, j] / mpmath.sqrt(positions)) for j in range(positions)] for i in range(channels)]
    grad = torch.tensor(rows, dtype=torch.float64)
    return grad - grad.mean(1, keepdim=True)


@pytest.mark.parametrize("path", ["gram", "dense"])
@pytest.mark.parametrize("decades", [0, 2, 6])
@pytest.mark.parametrize("size", [2, 3])
def test_float64_agrees_with_fifty_digits(size: int, decades: int, path: str) -> None:
    """1e-12 over 2 decades. float64 squares the features: eps times 10^decades, of which the gradient sees the root."""
    positions = size * size
    x = features(5, size, decades)[0].double() if decades else noise(1, 5, size, size)[0]
    gradient = grad_out(5)
    found = forward_backward(pooling("lyapunov", 5, path=path), x[None], gradient)[1][0]
    expected = fifty_digits(x.reshape(5, positions), gradient[0])
    assert relative_error(found.flatten(1), expected) < (1e-12 if decades < 6 else 1e-10)


@pytest.mark.parametrize("decades", [4, 6])
@pytest.mark.parametrize("size", [4, 10])
@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("name", METHODS)
def test_precision(name: str, precision: str, size: int, decades: int) -> None:
    """The limits of issue 3, on maps of 64 channels: 16 positions (Gram path) and 100 (dense path)."""
    assert error(features(64, size, decades), name, precision) <= LIMITS[precision]
