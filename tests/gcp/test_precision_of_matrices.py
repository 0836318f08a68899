"""Matrices that come in float32 or half precision: their rounding is no part of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import gcp
from gcp.errors import DomainError
from tests.gcp.helpers import noise, relative_error

SEEDS = range(20)


def of_rank(rank: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """A A^T with A (size, rank), and its derivative of the square root's weighted sum, both in float64."""
    A = noise(size, rank, seed=seed)
    return A @ A.mT, A


def exact_gradient(A: Tensor, G: Tensor) -> Tensor:
    """dℓ/dP of <G, P^(1/2)> with nothing flowing within the null space."""
    U, s, _ = torch.linalg.svd(A, full_matrices=True)
    roots = torch.zeros(len(A), dtype=A.dtype)
    roots[: len(s)] = s
    total = roots[:, None] + roots
    L = torch.where(total > 0, 1 / torch.where(total > 0, total, 1), 0)
    return U @ (L * (U.mT @ (G + G.mT) @ U / 2)) @ U.mT


@pytest.mark.parametrize("precision", ["mixed", "float64", "float32"])
@pytest.mark.parametrize("method", ["lyapunov", "pade", "original"])
def test_root_of_a_singular_matrix(method: str, precision: str) -> None:
    """Rank 4 of 8, 20 of them: noise taken for eigenvalues would be amplified a thousand times.

    1e-4: the rounding of the input, 1e-7, over the square root of its smallest eigenvalues and their gaps.
    """
    errors = []
    for seed in SEEDS:
        P, A = of_rank(4, 8, seed)
        G = noise(8, 8, seed=100 + seed)
        leaf = P.float().requires_grad_()
        gcp.spectral_function(leaf, "sqrt", method, precision=precision).backward(G.float())
        assert leaf.grad is not None
        errors.append(relative_error(leaf.grad, exact_gradient(A, G)))
    assert sorted(errors)[len(errors) // 2] < 1e-5
    assert max(errors) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("f", ["log", "inverse_sqrt", (torch.reciprocal, lambda a: -1 / a**2)])
def test_a_singular_matrix_is_refused_whatever_its_rounding(f: str, dtype: torch.dtype) -> None:
    """Positive or negative: for every seed the same."""
    for seed in SEEDS:
        P = of_rank(7, 8, seed)[0].to(dtype)
        with pytest.raises(DomainError, match=r"infinite at 0 and matrix 0 is singular to the precision of its type"):
            gcp.spectral_function(P, f)
        if f == "log":
            assert gcp.spectral_function(P, f, eps=0.1).isfinite().all()


@pytest.mark.parametrize("size", [2, 16, 64])
@pytest.mark.parametrize("positions", [1, 300])
def test_sums_in_float32(size: int, positions: int) -> None:
    """Products added up in float32, of rank 1 and of repeated rows: null eigenvalues come out as 0 exactly."""
    for seed in SEEDS:
        A = noise(max(size // 2, 1), positions, seed=seed).float()
        A = torch.cat([A, A])[:size]
        rank = min(size // 2, positions)
        Z = gcp.spectral_function(A @ A.mT / positions, "sqrt").double()
        assert int((torch.linalg.eigvalsh(Z).abs() > 1e-4 * Z.abs().max()).sum()) == rank


def test_small_eigenvalues_that_float32_resolves_are_kept() -> None:
    P = torch.diag(torch.tensor([1.0, 1e-3, 4e-6]))
    found = gcp.spectral_function(P, "sqrt").diagonal()
    torch.testing.assert_close(found, P.diagonal().sqrt())


def test_functions_that_are_smooth_at_zero_see_the_matrix_as_it_is() -> None:
    """exp(-lam) knows no relative floor: 0.5 beside 1e8 is 0.5."""
    P = torch.diag(torch.tensor([1e8, 0.5]))
    torch.testing.assert_close(gcp.spectral_function(P, "exp_neg")[1, 1], torch.tensor(-0.5).exp())


def test_features_keep_their_own_precision() -> None:
    """Squared in float64, features in float32 resolve eigenvalues that their covariance in float32 would not."""
    spread = torch.tensor([1.0, 1e-3, 1e-5])
    x = noise(1, 3, 20).float() * spread[:, None]
    eigenvalues = torch.linalg.eigvalsh(gcp.covariance_function(x, "sqrt")[0].double())
    assert eigenvalues[0] > 1e-6
