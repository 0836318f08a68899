"""The gauge check: a loss that depends on the basis chosen inside a tied eigenspace has no gradient.

Looked for in the backward, matrix by matrix. An operator, opaque to vmap; compiled programs go without the check, as
does forward mode, which sees no loss.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from gcp.errors import GaugeError, GaugeWarning, few
from gcp.features import sample_list
from gcp.operators import define_operator

GAUGES = ("warn", "raise", "ignore")


def check_gauge(
    tied: Tensor, M: Tensor | None, slopes: Tensor | None, gauge: str, advice: str, roundoff: float
) -> None:
    """Warn, or raise GaugeError, if a cotangent has a part that no derivative belongs to.

    That is, between vectors of one eigenspace, the skew part of M; and the differences of its values' cotangents.

    Args:
        tied: (..., n, n) bool, pairs of vectors of one eigenspace.
        M: (..., n, n), U^H gU, or None.
        slopes: (..., n), cotangents of the values, or None.
        gauge: one of `GAUGES`.
        advice: what depends on the basis, and which function to use.
        roundoff: of the type the cotangents came in.

    >>> tied = torch.ones(1, 2, 2, dtype=torch.bool)
    >>> check_gauge(tied, None, torch.tensor([[1.0, 2.0]]), "raise", "this has no derivative", 2**-23)
    Traceback (most recent call last):
    gcp.errors.GaugeError: this has no derivative, in matrix 0
    """
    if gauge == "ignore" or torch.compiler.is_compiling() or not tied.numel():
        return
    # Far above what sums of products leave, far below any cotangent that somebody meant.
    tolerance = tied.shape[-1] * roundoff**0.75
    with torch.no_grad():
        torch.ops.gcp.check_gauge(tied, M, slopes, tolerance, gauge, advice)


def _operator(
    tied: Tensor, M: Tensor | None, slopes: Tensor | None, tolerance: float, gauge: str, advice: str
) -> Tensor:
    dependent = tied.new_zeros(tied.shape[:-2])
    apart = tied.sum() == tied.diagonal(dim1=-2, dim2=-1).sum()  # the usual case, which shall cost nothing
    if apart and (M is None or not M.is_complex()):  # the phase of a complex vector is arbitrary on its own
        return dependent
    if M is not None:
        dependent |= _largest(torch.where(tied, M - M.mH, 0)) > tolerance * _largest(M)
    if slopes is not None:
        differences = slopes.unsqueeze(-1) - slopes.unsqueeze(-2)
        dependent |= _largest(torch.where(tied, differences, 0)) > tolerance * slopes.abs().amax(-1)
    if dependent.any():
        if gauge == "warn":
            warnings.warn(f"{advice}; gauge='raise' says which matrices, gauge='ignore' nothing", GaugeWarning, 2)
        else:
            samples = sample_list(dependent.flatten())
            raise GaugeError(f"{advice}, in matrix {few(samples, 8)}", samples)
    return dependent


def _largest(matrix: Tensor) -> Tensor:
    return matrix.abs().amax((-2, -1))


def _allocate(tied: Tensor, *_: Any) -> Tensor:
    return tied.new_empty(tied.shape[:-2])


def _vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
    batched = [
        part
        if not isinstance(part, Tensor)
        else part.expand(info.batch_size, *part.shape)
        if dim is None
        else part.movedim(dim, 0)
        for part, dim in zip(arguments, in_dims, strict=True)
    ]
    return torch.ops.gcp.check_gauge(*batched), 0


define_operator(
    "check_gauge(Tensor tied, Tensor? M, Tensor? slopes, float tolerance, str gauge, str advice) -> Tensor",
    _operator,
    _allocate,
    _vmap,
)
