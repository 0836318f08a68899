"""The check that matrices are symmetric; opaque to torch.compile and vmap."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.errors import DomainError
from gcp.features import sample_list
from gcp.operators import define_operator, flattened
from gcp.scaling import largest_entry


def symmetric_only(batch: Tensor) -> Tensor:
    """``batch`` (B, n, n) of symmetric or Hermitian matrices; unchecked in exported programs.

    Raises:
        DomainError: a matrix that differs from its (conjugate) transpose by more than rounding.
    """
    if torch.compiler.is_exporting():
        return batch
    bad = torch.ops.gcp.asymmetric(batch.detach())  # of none, or it raises; used, so that no compiler drops it
    return batch.masked_fill(bad[:, None, None], 0)


def _operator(batch: Tensor) -> Tensor:
    asymmetry = largest_entry(batch - batch.mH).flatten()
    # Two triangles computed independently differ by a few roundings of the largest entry.
    lopsided = asymmetry > 16 * torch.finfo(batch.dtype).eps * largest_entry(batch).flatten()
    if lopsided.any():
        samples = sample_list(lopsided)
        kind = "Hermitian" if batch.is_complex() else "symmetric"
        raise DomainError(
            f"matrix {samples[0]} is not {kind}, it is {float(asymmetry[samples[0]]):.3g} away from its transpose; "
            f"check_symmetric=False takes its {kind} part",
            samples,
        )
    return lopsided


def _allocate(batch: Tensor) -> Tensor:
    return batch.new_empty(len(batch), dtype=torch.bool)


def _vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
    return torch.ops.gcp.asymmetric(*flattened(info, in_dims, arguments)).unflatten(0, (info.batch_size, -1)), 0


define_operator("asymmetric(Tensor batch) -> Tensor", _operator, _allocate, _vmap)
