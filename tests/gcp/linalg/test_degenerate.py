"""Equal, nearly equal and null values, at any scale: right where there is an answer, finite and as said elsewhere."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

import gcp
from gcp.linalg.vector_method import Origin, vector_method
from gcp.methods.table import VECTORS
from tests.gcp.linalg.matrices import (
    COMPLEX,
    KINDS,
    REAL,
    REGULAR,
    SHAPES,
    SINGULAR_VALUES,
    difference,
    directional,
    noise,
    unitary,
    with_eigenvalues,
    with_singular_values,
)
from tests.gcp.oracle import vectors_gradient
from tests.slow import slow_unless

EPS = torch.finfo(REAL).eps
EXACT = ("pade", "original")
EIGENVALUES = {
    "identity": [1.0, 1.0, 1.0, 1.0],
    "zero": [0.0, 0.0, 0.0, 0.0],
    "rank one": [3.0, 0.0, 0.0, 0.0],
    "pairs": [2.0, 2.0, -1.0, -1.0],
    "opposite": [2.0, -2.0, 2.0, -2.0],
    **{f"cluster 1e-{k}": [2.0, 2.0 - 10.0**-k, 0.5, 0.5 - 10.0**-k] for k in (3, 6, 9, 12, 15)},
}


# -- functions without a gauge --


@pytest.mark.parametrize(("shape", "dtype"), KINDS)
@pytest.mark.parametrize("case", slow_unless(("identity", "cluster 1e-12"), REGULAR))
def test_polar(case, shape, dtype):
    """By central differences of order 8, good to 1e-11 of values that have an independent definition."""
    A = with_singular_values(SINGULAR_VALUES[case], shape, dtype)
    Q = gcp.linalg.polar(A)
    U, V = unitary(shape[0], dtype, 1), unitary(shape[1], dtype, 2)
    assert (Q - U[:, :3] @ V[:3]).abs().max() < 1e-13
    direction = noise(*shape, dtype=dtype, seed=5)
    found = directional(gcp.linalg.polar, A, direction)
    assert (found - difference(gcp.linalg.polar, A, direction)).abs().max() < 1e-10


@pytest.mark.parametrize("case", ["rank two", "rank one", "zero"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_polar_of_singular_matrices_is_a_partial_isometry(shape, case):
    """Right along matrices of the same rank, and nothing flows within the null space."""
    A = with_singular_values(SINGULAR_VALUES[case], shape)
    rank = sum(value > 0 for value in SINGULAR_VALUES[case])
    U, V = unitary(shape[0], REAL, 1)[:, :rank], unitary(shape[1], REAL, 2)[:rank]
    assert (gcp.linalg.polar(A) - U @ V).abs().max() < 1e-13
    left, right = noise(shape[0], shape[0], seed=6), noise(shape[1], shape[1], seed=7)
    of_same_rank = left @ A + A @ right

    def along(t: Tensor) -> Tensor:
        return gcp.linalg.polar((torch.eye(len(left), dtype=REAL) + t * left) @ A @ (torch.eye(len(right)) + t * right))

    curve = difference(along, torch.zeros((), dtype=REAL), torch.ones((), dtype=REAL))
    assert (directional(gcp.linalg.polar, A, of_same_rank) - curve).abs().max() < 1e-9
    null = (torch.eye(shape[0], dtype=REAL) - U @ U.mT) @ noise(*shape) @ (torch.eye(shape[1], dtype=REAL) - V.mT @ V)
    assert directional(gcp.linalg.polar, A, null).abs().max() < 1e-13


@pytest.mark.parametrize(
    "values", [[1.0, 1.0, 1.0], [1.0, 1.0, -0.5], [1.0, 1.0, 0.0], [2.0, 1.0, 1e-12], [2.0, 1.0, -1e-9]], ids=str
)
def test_nearest_rotation(values):
    """Planes of points too, whose last singular value is null: the rotation is smooth there, and no digit is lost."""
    U, V = unitary(3, seed=1), unitary(3, seed=2)
    U, V = U * U.det(), V * V.det()
    A = U @ torch.diag(torch.tensor(values, dtype=REAL)) @ V
    R = gcp.linalg.nearest_rotation(A)
    assert (R - U @ V).abs().max() < 1e-13
    direction = noise(3, 3, seed=5)
    found = directional(gcp.linalg.nearest_rotation, A, direction)
    assert (found - difference(gcp.linalg.nearest_rotation, A, direction)).abs().max() < 1e-10
    assert torch.equal(gcp.linalg.procrustes(A), R)


def test_rotations_that_are_not_unique_are_rotations_with_a_finite_gradient():
    for values in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 1.0, -1.0], [1.0, 1.0, -1.0]):
        A = with_singular_values([1.0, 1.0, 1.0], (3, 3)) @ torch.diag(torch.tensor(values, dtype=REAL))
        A = A.requires_grad_()
        R = gcp.linalg.nearest_rotation(A)
        assert (R @ R.mT - torch.eye(3, dtype=REAL)).abs().max() < 1e-13
        assert float(R.detach().det()) == pytest.approx(1, abs=1e-13)
        (R * noise(3, 3)).sum().backward()
        assert A.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
@pytest.mark.parametrize("case", slow_unless(("pairs", "cluster 1e-12"), EIGENVALUES))
def test_eigenprojector(case, dtype):
    """Onto the two largest, or three smallest where only those are apart."""
    values = EIGENVALUES[case]
    ordered = sorted(values, reverse=True)
    A = with_eigenvalues(values, dtype)
    U = unitary(4, dtype, 3)
    direction = noise(4, 4, dtype=dtype, seed=5)
    direction = direction + direction.mH
    for k in (1, 2, 3):
        if ordered[k - 1] - ordered[k] < 0.1:
            continue
        top = torch.tensor([value >= ordered[k - 1] for value in values], dtype=REAL)
        for largest in (True, False):

            def project(A: Tensor, largest: bool = largest, k: int = k) -> Tensor:
                return gcp.linalg.eigenprojector(A, k if largest else 4 - k, largest)

            assert (project(A) - (U * (top if largest else 1 - top)) @ U.mH).abs().max() < 1e-13
            found = directional(project, A, direction)
            assert (found - difference(project, A, direction)).abs().max() < 1e-10


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
def test_smallest_eigenvector(dtype):
    """DLT of exact correspondences: one null eigenvalue, the others equal; and the rule of the sign."""
    A = with_eigenvalues([3.0, 3.0, 3.0, 0.0], dtype)
    v = gcp.linalg.smallest_eigenvector(A)
    largest = v[v.abs().argmax()]
    assert float(largest.real) > 0
    assert abs(float(largest.imag)) < 1e-15 if dtype == COMPLEX else True
    assert (v - unitary(4, dtype, 3)[:, 3] * (largest / unitary(4, dtype, 3)[v.abs().argmax(), 3])).abs().max() < 1e-13
    direction = noise(4, 4, dtype=dtype, seed=5)
    direction = direction + direction.mH
    found = directional(gcp.linalg.smallest_eigenvector, A, direction)
    assert (found - difference(gcp.linalg.smallest_eigenvector, A, direction)).abs().max() < 1e-10


def test_the_first_of_equal_entries_is_positive():
    """(1, -1)/sqrt(2) and (-1, 1)/sqrt(2) are one vector; rounding must not choose between them."""
    for scale in (1.0, 3.7, 1e-8, 1e20):
        A = scale * torch.tensor([[1.0, 1.0], [1.0, 1.0]], dtype=REAL)
        v = gcp.linalg.smallest_eigenvector(A)
        assert torch.allclose(v, torch.tensor([1.0, -1.0], dtype=REAL) / 2**0.5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, REAL], ids=str)
def test_scales(scale, dtype):
    """Of degree 0 the functions stay and their gradients scale inversely, in float32 too, whose squares overflow."""
    A = with_singular_values(SINGULAR_VALUES["pair"], (3, 3)).to(dtype)
    P = with_eigenvalues([2.0, 2.0, 0.5]).to(dtype)
    for function, matrix in (
        (gcp.linalg.polar, A),
        (gcp.linalg.nearest_rotation, A),
        (lambda A: gcp.linalg.eigenprojector(A, 2), P),
        (gcp.linalg.smallest_eigenvector, P),
    ):
        grads = []
        for factor in (1.0, scale):
            x = (matrix * factor).requires_grad_()
            y = function(x)
            (y * noise(*y.shape, seed=4).to(dtype)).sum().backward()
            grads.append((y.detach(), x.grad.double() * factor))
        for found, expected in zip(grads[1], grads[0], strict=True):
            torch.testing.assert_close(
                found, expected, rtol=100 * torch.finfo(dtype).eps, atol=0.0 + 100 * torch.finfo(dtype).eps
            )


# -- eigh, svd and pca: losses of whole eigenspaces --


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
def test_pca_is_right_for_losses_of_whole_eigenspaces(values, method, path):
    from tests.gcp.helpers import with_spectrum

    x = with_spectrum(values, 7)[0][:, :, 0].requires_grad_()

    def loss(variances: Tensor, components: Tensor) -> Tensor:
        P = components @ components.mT
        return (P**2 * noise(4, 4, seed=3)).sum() + variances.sum() ** 2

    loss(*gcp.linalg.pca(x, 2, method, path=path)).backward()
    direction = noise(1, 4, 7, seed=5)

    def dense(x: Tensor) -> Tensor:
        centred = (x - x.mean(-1, keepdim=True)) / 7**0.5
        eigenvalues, U = torch.linalg.eigh(centred @ centred.mT)
        return loss(eigenvalues.flip(-1)[:, :2], U.flip(-1)[..., :2])

    expected = difference(dense, x.detach(), direction)
    assert abs(float((x.grad * direction).sum() - expected)) < max(1e-9, 100 * EPS / closest(values)) * 10


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


# -- bounds --


@pytest.mark.parametrize("signed", [False, True])
def test_bounds_of_the_quotients(signed):
    """(K + 1)/max of a pair for taylor and pi, the limit for trunc, 1/(2 width lam_max) for lorentz; nearly reached."""
    gaps = torch.logspace(-15, 0, 400, dtype=REAL)
    largest = 3.0
    pairs = torch.stack([torch.full_like(gaps, largest), largest * (1 - gaps)], -1)
    if signed:
        pairs = torch.cat([pairs, -pairs, pairs * torch.tensor([1.0, -1.0], dtype=REAL)]).sort(-1).values
    bounds = {
        "taylor": ({"degree": 30}, 31 / largest),
        "pi": ({"iterations": 30}, 31 / largest),
        "trunc": ({"limit": 1e5}, 1e5),
        "lorentz": ({"width": 1e-4}, 1 / (2e-4 * largest)),
    }
    for name, (options, bound) in bounds.items():
        found = vector_method(name, options, signed=signed).quotients(pairs, Origin(2, 2, EPS)).among.abs().max()
        assert 0.9 * bound < float(found) <= bound * (1 + 1e-12)
