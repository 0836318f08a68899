"""Linear maps of a matrix in the bases of a singular value decomposition, null spaces included but never formed."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Kernel(NamedTuple):
    """What the entries of B = U^H G V are multiplied by; real.

    Attributes:
        direct: (..., k, k), of B_ij.
        crossed: (..., k, k), of conj(B_ji), or None: 0.
        null: (..., k), between vector i and the complement of the other side's vectors, or None: there is none.
    """

    direct: Tensor
    crossed: Tensor | None
    null: Tensor | None


def between_bases(G: Tensor, U: Tensor, V: Tensor, kernel: Kernel) -> Tensor:
    """U (direct o B + crossed o B^H) V^H + (I - U U^H) G V null V^H + U null U^H G (I - V V^H), B = U^H G V.

    Args:
        G: (..., m, n).
        U: (..., m, k), orthonormal columns, or 0 in both U and V.
        V: (..., n, k).
        kernel: in the real dtype of G.

    >>> import torch
    >>> eye, one = torch.eye(2), torch.ones(2, 2)
    >>> between_bases(torch.tensor([[1.0, 4.0], [2.0, 3.0]]), eye, eye, Kernel(0 * one, one, None))
    tensor([[1., 2.],
            [4., 3.]])
    """
    GV = G @ V
    B = U.mH @ GV
    core = kernel.direct * B
    if kernel.crossed is not None:
        core = core + kernel.crossed * B.mH
    left = U @ core
    if kernel.null is None:
        return left @ V.mH
    null = kernel.null.unsqueeze(-2)
    left = left + (GV - U @ B) * null
    return left @ V.mH + (U * null) @ (U.mH @ G - B @ V.mH)
