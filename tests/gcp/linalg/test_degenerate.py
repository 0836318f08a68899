"""eigh, svd and pca at equal, nearly equal and null values: right where there is an answer, finite everywhere."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

import gcp
from gcp.methods.table import VECTORS
from tests.gcp.helpers import with_spectrum
from tests.gcp.linalg.matrices import (
    COMPLEX,
    EIGENVALUES,
    KINDS,
    REAL,
    REGULAR,
    SINGULAR_VALUES,
    difference,
    noise,
    with_eigenvalues,
    with_singular_values,
)
from tests.gcp.oracle import vectors_gradient
from tests.slow import slow_unless

EPS = torch.finfo(REAL).eps
EXACT = ("pade", "original")


def groups(values: list[float]) -> list[list[int]]:
    """Positions in ascending order of values that are less than 0.1 apart."""
    ascending = sorted(values)
    found = [[0]]
    for position in range(1, len(ascending)):
        if ascending[position] - ascending[position - 1] > 0.1:
            found.append([])
        found[-1].append(position)
    return found


def of_whole_eigenspaces(eigenvalues: Tensor, U: Tensor, values: list[float]) -> Tensor:
    """Squares of projectors' entries, and sums of eigenvalues, of each cluster."""
    total = torch.zeros((), dtype=REAL)
    for number, group in enumerate(groups(values)):
        P = U[:, group] @ U[:, group].mH
        W = noise(len(values), len(values), seed=number)
        total = total + (P.real**2 * W).sum() + (P.imag * W).sum() if P.is_complex() else total + (P**2 * W).sum()
        total = total + (number + 1) * eigenvalues[group].sum() ** 2
    return total


def closest(values: list[float]) -> float:
    """The least relative gap that is no tie."""
    largest = max(map(abs, values))
    gaps = [abs(a - b) / largest for a in values for b in values if largest and abs(a - b) > 16 * EPS * largest]
    return min(gaps, default=1.0)


@pytest.mark.filterwarnings("error::gcp.errors.GaugeWarning")
@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("case", slow_unless(("identity", "pairs", "cluster 1e-9"), EIGENVALUES))
def test_exact_methods_are_right_for_losses_of_whole_eigenspaces(case, method, dtype):
    """The oracle: the same loss by central differences. What is left is the quotient's rounding, 1e-16 over the gap."""
    values = EIGENVALUES[case]
    A = with_eigenvalues(values, dtype).requires_grad_()
    pair = gcp.linalg.eigh(A, method=method)
    of_whole_eigenspaces(*pair, values).backward()
    assert A.grad.isfinite().all()
    direction = noise(4, 4, dtype=dtype, seed=5)
    direction = direction + direction.mH

    def loss(A: Tensor) -> Tensor:
        return of_whole_eigenspaces(*torch.linalg.eigh(A), values)

    expected = difference(loss, A.detach(), direction)
    found = (A.grad.conj() * direction).sum().real
    assert abs(float(found - expected)) < max(1e-9, 100 * EPS / closest(values)) * max(1.0, abs(float(expected)))


@pytest.mark.filterwarnings("error::gcp.errors.GaugeWarning")
@pytest.mark.parametrize("method", slow_unless(("pade",), EXACT))
@pytest.mark.parametrize(("shape", "dtype"), KINDS)
@pytest.mark.parametrize("case", slow_unless(("identity", "cluster 1e-12"), REGULAR))
def test_svd_is_right_for_losses_of_whole_subspaces(case, shape, dtype, method):
    values = SINGULAR_VALUES[case]
    A = with_singular_values(values, shape, dtype).requires_grad_()
    k = 3
    parts = [[k - 1 - position for position in group] for group in groups(values)]

    def loss(U: Tensor, S: Tensor, Vh: Tensor) -> Tensor:
        total = torch.zeros((), dtype=REAL)
        for number, part in enumerate(parts):
            Q = U[:, part] @ Vh[part]
            total = total + (Q.real**2 * noise(*shape, seed=number)).sum() + S[part].sum() ** 2
            total = total + ((U[:, part] @ U[:, part].mH).real ** 2 * noise(shape[0], shape[0], seed=8)).sum()
        return total

    loss(*gcp.linalg.svd(A, method=method)).backward()
    direction = noise(*shape, dtype=dtype, seed=5)
    expected = difference(lambda A: loss(*torch.linalg.svd(A, full_matrices=False)), A.detach(), direction)
    found = (A.grad.conj() * direction).sum().real
    assert abs(float(found - expected)) < max(1e-9, 100 * EPS / closest(values)) * max(1.0, abs(float(expected)))


@pytest.mark.filterwarnings("error::gcp.errors.GaugeWarning")
@pytest.mark.parametrize("path", ["gram", "dense"])
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("values", [[2.0, 2.0, 0.5, 0.5], [3.0, 3.0, 0.0, 0.0], [2.0, 2.0 - 1e-9, 0.5, 0.0]], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, REAL], ids=str)
def test_pca_is_right_for_losses_of_whole_eigenspaces(dtype, values, method, path):
    """In float32, too, where storing the features has moved equal eigenvalues apart by 1e-7."""
    x = with_spectrum(values, 7)[0][:, :, 0].to(dtype).requires_grad_()

    def loss(variances: Tensor, components: Tensor) -> Tensor:
        P = components @ components.mT
        return (P**2 * noise(4, 4, seed=3).to(P.dtype)).sum() + variances.sum() ** 2

    loss(*gcp.linalg.pca(x, 2, method, path=path)).backward()
    direction = noise(1, 4, 7, seed=5)

    def dense(x: Tensor) -> Tensor:
        centred = (x - x.mean(-1, keepdim=True)) / 7**0.5
        eigenvalues, U = torch.linalg.eigh(centred @ centred.mT)
        return loss(eigenvalues.flip(-1)[:, :2], U.flip(-1)[..., :2])

    expected = difference(dense, x.detach().double(), direction)
    tolerance = max(1e-9, 100 * EPS / closest(values)) if dtype == REAL else 1e-6
    assert abs(float((x.grad * direction).sum() - expected)) < tolerance * 10


@pytest.mark.filterwarnings("ignore::gcp.errors.GaugeWarning")
@pytest.mark.parametrize("method", VECTORS)
@pytest.mark.parametrize(
    ("case", "scale"),
    slow_unless(
        (("zero", 1.0), ("cluster 1e-9", 1.0), ("pairs", 1e-30)), itertools.product(EIGENVALUES, (1.0, 1e-30, 1e30))
    ),
)
def test_every_method_is_finite_and_its_own_formula(case, method, scale):
    """For any loss, also one without a gradient. Two sums of the same series differ by rounding, 1e-16 over the gap."""
    values = [value * scale for value in EIGENVALUES[case]]
    A = with_eigenvalues(values).requires_grad_()
    options, kept = ({"n": 2}, 2) if method == "topn" else ({}, None)
    eigenvalues, U = gcp.linalg.eigh(A, method=method, **options)
    slopes, cotangent = noise(4, seed=6), noise(4, 4, seed=7)
    (eigenvalues * slopes).sum().backward(retain_graph=True)
    (U * cotangent / scale).sum().backward()
    assert A.grad.isfinite().all()
    if method == "topn" and case != "pairs":
        return  # where the cut goes through a tie, or nearly, what is kept is another matter: tests/gcp/test_ties.py
    expected = vectors_gradient(method, eigenvalues.detach(), U.detach(), slopes, cotangent / scale, 16 * EPS, kept)
    largest = float(expected.abs().max())
    torch.testing.assert_close(A.grad, expected, rtol=0, atol=max(1e-9, 10 * EPS / closest(values)) * largest)
