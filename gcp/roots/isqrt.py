"""iSQRT-COV: the square root of a covariance by Newton-Schulz, on the smaller of Gram matrix and covariance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.autocast import without_autocast
from gcp.features import symmetric
from gcp.reverse_mode import ReverseMode
from gcp.roots.newton_schulz import inverse_root, with_tangent


class NewtonSchulzRoot(ReverseMode):
    """sqrt(t) p(P/t) of P = Xc Xc^T, t = tr(P), p the polynomial of the coupled iteration (arXiv 1712.01034).

    p has no constant term, p(K) = K q(K), so p(P) = Xc q(Xc^T Xc) Xc^T and the iteration runs on N x N matrices when
    N < C. The backward keeps Xc alone and runs the iteration again with a tangent: with S = sym(dL/dZ),

        N < C:   K = Xc^T Xc/t, R = Xc^T S Xc/sqrt(t), Q = q(K), D = its derivative in the direction R,
                 dL/dXc = 2 [S Xc Q/sqrt(t) + Xc (D/t + tau I)], tau = -(<R, Q>/2 + <D, K>)/t;
        N >= C:  K = P/t, D = the derivative of p in the direction S,
                 dL/dXc = 2 (D/sqrt(t) + tau I) Xc, tau = (<S, p(K)>/2 - <D, K>)/sqrt(t).

    It is made of differentiable operations on Xc, so that all higher derivatives exist.
    """

    generate_vmap_rule = True

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
        """dL/dXc (B, C, N) from dL/dZ (B, C, C)."""
        (Xc,) = ctx.saved_tensors
        channels, positions = Xc.shape[-2:]
        with without_autocast(Xc):
            # Both formulas for unit = Xc/sqrt(t): their powers of t combine to none.
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
