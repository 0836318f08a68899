"""Coupled Newton-Schulz iteration in C x C matrices, with the backward of iSQRT-COV (arXiv 1712.01034, eq. 11).

Pre-normalisation by the trace, A = P/tr(P); post-compensation, Z = sqrt(tr(P)) Y_n.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Iterates(NamedTuple):
    """What the backward needs of a forward.

    Attributes:
        normalised: A = P/tr(P), (B, C, C).
        trace: tr(P), (B, 1, 1).
        pairs: Y_k and Z_k after steps 1 to n - 1.
        last: Y_n.
    """

    normalised: Tensor
    trace: Tensor
    pairs: list[tuple[Tensor, Tensor]]
    last: Tensor


def iterate(covariance: Tensor, steps: int) -> Iterates:
    """``steps`` >= 2 of Y' = Y (3I - Z Y)/2, Z' = (3I - Z Y) Z/2 from Y = A, Z = I; 3 steps - 3 products."""
    triple = _triple_identity(covariance)
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    A = covariance / trace
    Z = (triple - A) / 2
    pairs = [(A.bmm(Z), Z)]
    for _ in range(steps - 2):
        Y, Z = pairs[-1]
        W = (triple - Z.bmm(Y)) / 2
        pairs.append((Y.bmm(W), W.bmm(Z)))
    Y, Z = pairs[-1]
    return Iterates(A, trace, pairs, Y.bmm(triple - Z.bmm(Y)) / 2)


def square_root(iterates: Iterates) -> Tensor:
    """sqrt(tr(P)) Y_n, (B, C, C)."""
    return iterates.last * iterates.trace.sqrt()


def differentiate(iterates: Iterates, grad: Tensor) -> Tensor:
    """dℓ/dP from dℓ/dZ, by the paper's formulas: 6 products for the last step, 10 for each before, 2 for the first."""
    A, trace, pairs, last = iterates
    triple = _triple_identity(A)
    G = grad * trace.sqrt()
    Y, Z = pairs[-1]
    YZ, ZY = Y.bmm(Z), Z.bmm(Y)
    grad_Y = (G.bmm(triple - YZ) - ZY.bmm(G)) / 2
    grad_Z = Y.bmm(G).bmm(Y) / -2
    for Y, Z in reversed(pairs[:-1]):
        YZ, ZY = Y.bmm(Z), Z.bmm(Y)
        grad_Y, grad_Z = (
            (grad_Y.bmm(triple - YZ) - Z.bmm(grad_Z).bmm(Z) - ZY.bmm(grad_Y)) / 2,
            ((triple - YZ).bmm(grad_Z) - Y.bmm(grad_Y).bmm(Y) - grad_Z.bmm(ZY)) / 2,
        )
    grad_A = (grad_Y.bmm(triple - A) - A.bmm(grad_Y) - grad_Z) / 2
    through_root = _inner(grad, last) / (2 * trace.sqrt())
    through_normalisation = _inner(grad_A, A) / trace
    return grad_A / trace + (through_root - through_normalisation) * triple / 3


def _triple_identity(like: Tensor) -> Tensor:
    return 3 * torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)
