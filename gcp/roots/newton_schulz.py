"""The coupled Newton-Schulz iteration for the matrix square root, as a polynomial of one matrix."""

from __future__ import annotations

import torch
from torch import Tensor


def inverse_root(K: Tensor, iterations: int) -> Tensor:
    """Z_n(K), which tends to K^(-1/2); K Z_n(K) tends to K^(1/2).

    With Y = K Z throughout, one step is W = (3 I - Z Y)/2, Y <- Y W, Z <- W Z, from Z = I.

    Args:
        K: (..., n, n), symmetric, eigenvalues in [0, 1].
        iterations: number of steps, at least 1; eigenvalues below about 2.25^-n have not converged.
    """
    three = 3 * _eye(K)
    Z = (three - K) / 2
    Y = K @ Z
    for step in range(1, iterations):
        W = (three - Z @ Y) / 2
        Z = W @ Z
        if step < iterations - 1:
            Y = Y @ W
    return Z


def with_tangent(K: Tensor, R: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Z_n(K) and its derivative in the direction R, by the product rule through every step.

    Z_n is a polynomial, so for symmetric K and R the derivative is its own adjoint: dL/dK is the derivative in the
    direction of dL/dZ_n. That is what lets a backward keep nothing of the forward's steps.

    Args:
        K, R: (..., n, n), symmetric.
        iterations: as in `inverse_root`.
    """
    three = 3 * _eye(K)
    Z, dZ = (three - K) / 2, -R / 2
    Y, dY = K @ Z, R @ Z + K @ dZ
    for step in range(1, iterations):
        W, dW = (three - Z @ Y) / 2, -(dZ @ Y + Z @ dY) / 2
        Z, dZ = W @ Z, dW @ Z + W @ dZ
        if step < iterations - 1:
            Y, dY = Y @ W, dY @ W + Y @ dW
    return Z, dZ


def _eye(matrix: Tensor) -> Tensor:
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
