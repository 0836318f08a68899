"""Matrices with the singular values or eigenvalues a test wants, and the cases every function here has to bear."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

REAL, COMPLEX = torch.float64, torch.complex128
SHAPES = ((3, 3), (5, 3), (3, 5))
KINDS = [
    pytest.param(shape, dtype, id=f"{'x'.join(map(str, shape))}-{str(dtype).removeprefix('torch.')}")
    for shape in SHAPES
    for dtype in (REAL, COMPLEX)
]
# Equal, nearly equal and null ones; three of each, for the smaller side of SHAPES.
SINGULAR_VALUES = {
    "apart": [3.0, 2.0, 0.5],
    "identity": [1.0, 1.0, 1.0],
    "pair": [2.0, 2.0, 0.5],
    "cluster 1e-6": [2.0, 2.0 - 1e-6, 0.5],
    "cluster 1e-12": [2.0, 2.0 - 1e-12, 2.0 - 3e-12],
    "cluster 1e-15": [2.0, 2.0 - 1e-15, 0.5],
    "rank two": [2.0, 2.0, 0.0],
    "rank one": [2.0, 0.0, 0.0],
    "zero": [0.0, 0.0, 0.0],
}
EIGENVALUES = {
    "identity": [1.0, 1.0, 1.0, 1.0],
    "zero": [0.0, 0.0, 0.0, 0.0],
    "rank one": [3.0, 0.0, 0.0, 0.0],
    "pairs": [2.0, 2.0, -1.0, -1.0],
    "opposite": [2.0, -2.0, 2.0, -2.0],
    **{f"cluster 1e-{k}": [2.0, 2.0 - 10.0**-k, 0.5, 0.5 - 10.0**-k] for k in (3, 6, 9, 12, 15)},
}
REGULAR = {name: values for name, values in SINGULAR_VALUES.items() if values[-1] > 0}


def noise(*shape: int, dtype: torch.dtype = REAL, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unitary(size: int, dtype: torch.dtype = REAL, seed: int = 1) -> Tensor:
    return torch.linalg.qr(noise(size, size, dtype=dtype, seed=seed))[0]


def with_singular_values(values: list[float], shape: tuple[int, int], dtype: torch.dtype = REAL) -> Tensor:
    """(m, n), of the values of its smaller side."""
    diagonal = torch.zeros(shape, dtype=dtype)
    diagonal.diagonal()[:] = torch.tensor(values, dtype=REAL).to(dtype)
    return unitary(shape[0], dtype, 1) @ diagonal @ unitary(shape[1], dtype, 2)


def with_eigenvalues(values: list[float], dtype: torch.dtype = REAL) -> Tensor:
    """Hermitian, (n, n)."""
    U = unitary(len(values), dtype, 3)
    A = (U * torch.tensor(values, dtype=REAL)) @ U.mH
    return (A + A.mH) / 2


def difference(function, A: Tensor, direction: Tensor, step: float = 1e-3) -> Tensor:
    """The derivative of ``function`` at ``A`` by central differences of order 8: the error is step^8."""
    weights = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}
    total = 0
    for k, weight in weights.items():
        total = total + weight * (function(A + k * step * direction) - function(A - k * step * direction))
    return total / step


def directional(function, A: Tensor, direction: Tensor) -> Tensor:
    """The same by the library's reverse mode: <gradient, direction> of each output's real and imaginary part."""
    A = A.detach().clone().requires_grad_()
    output = function(A)
    flat = torch.view_as_real(output).flatten() if output.is_complex() else output.flatten()
    slopes = []
    for entry in flat:
        (grad,) = torch.autograd.grad(entry, A, retain_graph=True)
        slopes.append((grad.conj() * direction).sum().real)
    slopes = torch.stack(slopes)
    if output.is_complex():
        slopes = torch.view_as_complex(slopes.reshape(-1, 2).contiguous())
    return slopes.reshape(output.shape)
