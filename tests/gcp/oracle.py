"""Value and gradient of each method by its definition: float64, dense, entry by entry, sample by sample.

Shares nothing with the library but `symmetric`, which is this test suite's own.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.gcp.helpers import symmetric

EXACT = ("original", "pade", "lyapunov", "topn")  # the divided difference itself, at distinct eigenvalues
KNOWN = (*EXACT, "taylor", "trunc", "pi", "lorentz", "newton", "halley")
EPS = torch.finfo(torch.float64).eps


def weight(name: str, larger: float, smaller: float, largest: float) -> float:
    """L_ij of two distinct eigenvalues, the smaller one possibly 0, of ``largest`` of all, at the default options."""
    exact = 1 / (larger**0.5 + smaller**0.5)
    x = smaller / larger
    if name == "taylor":
        return sum(x**exponent for exponent in range(101)) / larger * (larger - smaller) * exact
    if name == "trunc":
        return min(1 / (larger - smaller), 1e10) * (larger - smaller) * exact
    if name == "pi":
        sums = [sum(x**exponent for exponent in range(count)) / larger for count in (20, 19)]
        return larger**0.5 * sums[0] - smaller**0.5 * sums[1]
    if name == "lorentz":
        return (larger - smaller) ** 2 / ((larger - smaller) ** 2 + (1e-6 * largest) ** 2) * exact
    assert name in EXACT
    return exact


def quotient(name: str, own: float, other: float, largest: float) -> float:
    """What stands for 1/(own - other) on the cotangent of the vector of ``own``, at the default options of ``name``."""
    if name in ("original", "pade"):
        return 1 / (own - other)
    if name == "trunc":
        return min(max(1 / (own - other), -1e10), 1e10)
    if name == "lorentz":
        return (own - other) / ((own - other) ** 2 + (1e-6 * largest) ** 2)
    if own * other < 0:
        return 1 / (own - other)  # where nothing is to be damped
    larger, smaller = (own, other) if abs(own) > abs(other) else (other, own)
    terms = {"taylor": 101, "pi": 20 if larger == own else 19}[name]
    series = sum((smaller / larger) ** exponent for exponent in range(terms)) / larger
    return series if larger == own else -series


def vectors_gradient(
    name: str, eigenvalues: Tensor, U: Tensor, slopes: Tensor, cotangent: Tensor, floor: float, kept: int | None = None
) -> Tensor:
    """dℓ/dA (n, n) of one matrix, entry by entry; ``kept`` for topn, the number of the largest that count."""
    n = len(eigenvalues)
    M = U.mH @ cotangent
    order = sorted(range(n), key=lambda i: -abs(float(eigenvalues[i])))
    counts = set(order if kept is None else order[:kept])
    largest = float(eigenvalues.abs().max())
    core = torch.zeros_like(M)
    for j in counts:
        core[j, j] += slopes[j]
        for i in range(n):
            own, other = float(eigenvalues[j]), float(eigenvalues[i])
            if abs(own - other) <= floor * largest:
                continue
            if kept is not None:
                D = 1 / (own - other) if i in counts else 1 / own
            else:
                D = quotient(name, own, other, largest)
            core[i, j] += D * M[i, j]
    return U @ ((core + core.mH) / 2) @ U.mH


def spectrum(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues (C,) descending with null ones 0, eigenvectors (C, C) and Xc (C, N) of one sample (C, H, W)."""
    flat = x.double().flatten(1)
    flat = flat - flat[:, :1]  # a constant channel is exactly 0, whatever the mean rounds to
    centred = (flat - flat.mean(1, keepdim=True)) / flat.shape[1] ** 0.5
    U, roots, _ = torch.linalg.svd(centred, full_matrices=True)
    lam = torch.zeros(len(flat), dtype=torch.float64)
    lam[: len(roots)] = roots**2
    return torch.where(lam > EPS * max(flat.shape) * lam[0], lam, 0), U, centred


def relative_gap(x: Tensor) -> float:
    """Smallest gap between eigenvalues, 0 included, that are not ties, over the largest eigenvalue.

    Ties are gaps below an eighth of the floor: rounding may put those between on either side of it.
    """
    lam = spectrum(x)[0]
    if lam[0] == 0:
        return 1.0
    levels = torch.cat([lam, lam.new_zeros(1)])
    gaps = (levels[:-1] - levels[1:]) / lam[0]
    return float(gaps[gaps > EPS * max(x.flatten(1).shape) / 8].min())


def newton_schulz(P: Tensor, iterations: int = 10, inverse: bool = False) -> Tensor:
    """The coupled iteration on P/tr P, with the root of the trace put back; or its inverse root."""
    trace = P.trace()
    eye = torch.eye(len(P), dtype=P.dtype)
    Y, Z = P / trace, eye
    for _ in range(iterations):
        T = (3 * eye - Z @ Y) / 2
        Y, Z = Y @ T, T @ Z
    return Z / trace.sqrt() if inverse else Y * trace.sqrt()


def halley(P: Tensor, iterations: int = 4, inverse: bool = False) -> Tensor:
    """Halley's iteration X (X^2 + 3 A) (3 X^2 + A)^-1 on A = P/tr P, with the root of the trace put back; or X^-1."""
    trace = P.trace()
    A, X = P / trace, torch.eye(len(P), dtype=P.dtype)
    for _ in range(iterations):
        X = torch.linalg.solve(3 * X @ X + A, X @ (X @ X + 3 * A))
    return torch.linalg.inv(X) / trace.sqrt() if inverse else X * trace.sqrt()


ITERATIONS = {"newton": newton_schulz, "halley": halley}  # whose gradient is autograd's through all of it


def oracle(name: str, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Root (C, C) and dℓ/dx (C, H, W) of one sample, for dℓ/dy (C (C + 1)/2,); skips a method not written down here."""
    if name not in KNOWN:
        pytest.skip(f"the definition of '{name}' is not in tests/gcp/oracle.py")
    lam, U, centred = spectrum(x)
    channels, positions = centred.shape
    G = symmetric(gradient.double(), channels)
    count = channels
    if name == "topn":
        count = max(1, round(206 / 256 * channels))
        last = lam[count - 1]
        count = int((lam >= last - EPS * max(centred.shape) * lam[0]).sum())  # a tie is not cut through
    values = lam.sqrt()
    values[count:] = 0
    root = (U * values) @ U.T
    if lam[0] == 0:
        return root, torch.zeros_like(x, dtype=torch.float64)
    if name in ITERATIONS:
        P = (centred @ centred.T).requires_grad_()
        (to_covariance,) = torch.autograd.grad((ITERATIONS[name](P) * G).sum(), P)
    else:
        L = torch.zeros(channels, channels, dtype=torch.float64)
        for i in range(channels):
            for j in range(i, channels):
                larger, smaller = float(lam[i]), float(lam[j])
                if larger == 0 or i >= count:
                    continue
                if j >= count:
                    L[i, j] = larger**-0.5
                elif i == j or larger - smaller <= EPS * max(centred.shape) * float(lam[0]):
                    L[i, j] = 0.5 / larger**0.5
                else:
                    L[i, j] = weight(name, larger, smaller, float(lam[0]))
                L[j, i] = L[i, j]
        to_covariance = U @ (L * (U.T @ G @ U)) @ U.T
    to_flat = (to_covariance + to_covariance.T) @ centred / positions**0.5
    return root, (to_flat - to_flat.mean(1, keepdim=True)).reshape(x.shape)
