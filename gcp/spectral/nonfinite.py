"""Samples with NaN or infinity: an error that names them, or zeros or NaN in their place."""

from __future__ import annotations

import cmath
from typing import Any

import torch
from torch import Tensor

from gcp.errors import NonFiniteError, few
from gcp.features import at_least_float32, sample_list
from gcp.operators import define_operator, flattened
from gcp.spectral.lapack import FAILURES


def finite_samples(features: Tensor, zero: bool, what: str = "features of sample") -> Tensor:
    """``features`` (B, C, N) with samples that are not finite set to 0, or NonFiniteError that names them."""
    # One cheap pass decides in the usual case: a sum is not finite if one of its parts is not, or if it overflows.
    if cmath.isfinite(features.sum(dtype=at_least_float32(features.dtype)).item()):
        return features
    bad = nonfinite(features)
    samples = sample_list(bad)
    if not samples:
        return features
    if zero:
        FAILURES.add(zeroed=len(samples))
        return features.masked_fill(bad[:, None, None], 0)
    raise NonFiniteError(f"NaN or infinity in the {what} {few(samples, 8)} of {len(features)}", samples)


def nonfinite(batch: Tensor) -> Tensor:
    """Mask (B,) of the samples of (B, ...) that hold NaN or infinity.

    >>> nonfinite(torch.tensor([[1.0, 2.0], [3.0, torch.nan]]))
    tensor([False,  True])
    """
    mask: Tensor = ~batch.isfinite().flatten(1).all(1)
    return mask


def zeroed(batch: Tensor) -> Tensor:
    """``batch`` (B, n, n) with samples that are not finite set to 0, which get no gradient; counted, but in exports.

    >>> zeroed(torch.tensor([[[1.0]], [[torch.nan]]])).flatten()
    tensor([1., 0.])
    """
    detached = batch.detach()
    exporting = torch.compiler.is_exporting()
    bad = nonfinite(detached) if exporting else torch.ops.gcp.nonfinite(detached)
    return batch.masked_fill(bad[:, None, None], 0)


def _operator(batch: Tensor) -> Tensor:
    bad = nonfinite(batch)
    count = int(bad.sum())
    if count:
        FAILURES.add(zeroed=count)
    return bad


def _allocate(batch: Tensor) -> Tensor:
    return batch.new_empty(len(batch), dtype=torch.bool)


def _vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
    return torch.ops.gcp.nonfinite(*flattened(info, in_dims, arguments)).unflatten(0, (info.batch_size, -1)), 0


define_operator("nonfinite(Tensor batch) -> Tensor", _operator, _allocate, _vmap)
