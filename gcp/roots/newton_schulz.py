"""iSQRT-COV: the square root of a covariance by Newton-Schulz, on the smaller of Gram matrix and covariance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.autograd import ReverseMode, without_autocast
from gcp.features import eye_like, symmetric


class NewtonSchulzRoot(ReverseMode):
    """sqrt(t) p(P/t) of P = Xc Xc^T, t = tr(P), p the polynomial of the coupled iteration (arXiv 1712.01034).

    p has no constant term, p(K) = K q(K), so p(P) = Xc q(Xc^T Xc) Xc^T and the iteration runs on N x N matrices when
    N < C. The backward keeps Xc alone and runs the iteration again with a tangent: with S = sym(dℓ/dZ),

        N < C:   K = Xc^T Xc/t, R = Xc^T S Xc/sqrt(t), Q = q(K), D = its derivative in the direction R,
                 dℓ/dXc = 2 [S Xc Q/sqrt(t) + Xc (D/t + tau I)], tau = -(<R, Q>/2 + <D, K>)/t;
        N >= C:  K = P/t, D = the derivative of p in the direction S,
                 dℓ/dXc = 2 (D/sqrt(t) + tau I) Xc, tau = (<S, p(K)>/2 - <D, K>)/sqrt(t).

    It is made of differentiable operations on Xc, so that all higher derivatives exist.
    """

    @staticmethod
    def forward(Xc: Tensor, iterations: int) -> Tensor:
        """Z (B, C, C) from Xc (B, C, N); a sample that is 0 gives 0."""
        channels, positions = Xc.shape[-2:]
        with without_autocast(Xc):
            unit, root = _normalised(Xc)
            if positions < channels:
                Z = (unit @ inverse_root(unit.mT @ unit, iterations)) @ unit.mT
            else:
                K = unit @ unit.mT
                Z = K @ inverse_root(K, iterations)
            return Z * root

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        """Keep Xc."""
        Xc, ctx.iterations = inputs
        ctx.save_for_backward(Xc)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """dℓ/dXc (B, C, N) from dℓ/dZ (B, C, C)."""
        (Xc,) = ctx.saved_tensors
        channels, positions = Xc.shape[-2:]
        with without_autocast(Xc):
            # Both formulas for unit = Xc/sqrt(t): their powers of t cancel.
            unit, _ = _normalised(Xc)
            S = symmetric(grad)
            if positions < channels:
                SX = S @ unit
                K, R = unit.mT @ unit, unit.mT @ SX
                Q, D = with_tangent(K, R, ctx.iterations)
                tau = -(_inner(R, Q) / 2 + _inner(D, K))
                return 2 * (SX @ Q + unit @ D + tau * unit), None
            K = unit @ unit.mT
            Q, dQ = with_tangent(K, S, ctx.iterations)
            D = S @ Q + K @ dQ
            tau = _inner(S, K @ Q) / 2 - _inner(D, K)
            return 2 * (D @ unit + tau * unit), None


def _normalised(Xc: Tensor) -> tuple[Tensor, Tensor]:
    """Xc/sqrt(t) and sqrt(t) (B, 1, 1), t = |Xc|^2 of each sample; of a sample that is 0, itself and 0."""
    square = Xc.square().sum((-2, -1), keepdim=True)
    empty = square == 0
    root = torch.where(empty, 1, square).sqrt()
    return Xc / root, torch.where(empty, 0, root)


def _inner(A: Tensor, B: Tensor) -> Tensor:
    return (A * B).sum((-2, -1), keepdim=True)


def inverse_root(K: Tensor, iterations: int) -> Tensor:
    """Z_n(K), which tends to K^(-1/2); K Z_n(K) tends to K^(1/2).

    With Y = K Z throughout, one step is W = (3 I - Z Y)/2, Y <- Y W, Z <- W Z, from Z = I.

    Args:
        K: (..., n, n), symmetric, eigenvalues in [0, 1].
        iterations: number of steps, at least 1; eigenvalues below about 2.25^-n have not converged.

    >>> inverse_root(torch.tensor([[0.25]]), iterations=10).round(decimals=3)
    tensor([[2.]])
    """
    three = 3 * eye_like(K)
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

    Z_n is a polynomial, so for symmetric K and R the derivative is its own adjoint: dℓ/dK is the derivative in the
    direction of dℓ/dZ_n. That is what lets a backward keep nothing of the forward's steps.

    Args:
        K, R: (..., n, n), symmetric.
        iterations: as in `inverse_root`.
    """
    three = 3 * eye_like(K)
    Z, dZ = (three - K) / 2, -R / 2
    Y, dY = K @ Z, R @ Z + K @ dZ
    for step in range(1, iterations):
        W, dW = (three - Z @ Y) / 2, -(dZ @ Y + Z @ dY) / 2
        Z, dZ = W @ Z, dW @ Z + W @ dZ
        if step < iterations - 1:
            Y, dY = Y @ W, dY @ W + Y @ dW
    return Z, dZ
