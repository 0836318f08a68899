"""The Lyapunov equation B X + X B = C by iteration: the gradient of every matrix square root."""

from __future__ import annotations

import torch
from torch import Tensor

from gcp.features import largest_entry, safe_unit, symmetric


def lyapunov_solution(B: Tensor, C: Tensor, iterations: int) -> Tensor:
    """X with B X + X B = C, by the Newton-Schulz iteration for the sign of [[B, C], [0, -B]].

    B <- B (3 I - B^2)/2 tends to I and C <- (3 C - B^2 C - C B^2 + B C B)/2 to 2 X (ICLR 2022, arXiv 2201.08663). Each
    matrix is divided by |B^2|_F^(1/2) first, as published: no less than its largest eigenvalue, and where eigenvalues
    are many much less than |B|_F. A matrix that is 0 gives 0.

    Args:
        B: (..., n, n), symmetric positive semi-definite.
        C: (..., n, n), symmetric.
        iterations: at least 1; in the eigenbasis of B, entry (i, j) has converged when the smaller of b_i, b_j is well
            above 1.5^-iterations |B^2|^(1/2).
    """
    unit = safe_unit(largest_entry(B))
    B, C = B / unit, C / unit
    norm = torch.linalg.matrix_norm(B @ B, keepdim=True).sqrt()
    empty = norm == 0
    inverse = torch.where(empty, 0, 1 / torch.where(empty, 1, norm))
    B, C = B * inverse, C * inverse
    for step in range(iterations):
        B2, BC = B @ B, B @ C
        # C B^2 is the transpose of B^2 C; without the symmetric part, rounding would double in each step.
        C = symmetric(3 * C - 2 * (B @ BC) + BC @ B) / 2
        if step < iterations - 1:
            B = (3 * B - B @ B2) / 2
    return C / 2
