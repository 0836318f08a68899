"""Functions without a gauge at equal, nearly equal and null values, at any scale: against differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import gcp
from tests.gcp.linalg.matrices import (
    COMPLEX,
    EIGENVALUES,
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
from tests.slow import slow_unless


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
