"""The check that results fit their type; opaque to torch.compile and vmap."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.errors import DomainError
from gcp.features import sample_list
from gcp.operators import define_operator


def require_in_range(Z: Tensor, eigenvalues: Tensor, name: str) -> None:
    """Raise DomainError where f(P) overflows its type, or vanishes though P does not; not in compiled programs.

    Args:
        Z: (B, C, C), of a function that scales with P.
        eigenvalues: (B, n) of P, in any units.
        name: of f.
    """
    if not torch.compiler.is_compiling():
        torch.ops.gcp.require_in_range(Z.detach(), eigenvalues.detach(), name)


def _operator(Z: Tensor, eigenvalues: Tensor, name: str) -> Tensor:
    outside = out_of_range(Z.flatten(1), eigenvalues)
    if outside.any():
        samples = sample_list(outside)
        raise range_error(f"{name} of the covariance of sample {samples[0]}", Z.dtype, "features", samples)
    return outside


def _allocate(Z: Tensor, eigenvalues: Tensor, name: str) -> Tensor:
    return Z.new_empty(len(Z), dtype=torch.bool)


def _vmap(info: Any, in_dims: tuple[int | None, ...], Z: Tensor, eigenvalues: Tensor, name: str) -> tuple[Tensor, int]:
    size = info.batch_size
    batched = [
        part.expand(size, *part.shape) if dim is None else part.movedim(dim, 0)
        for part, dim in zip((Z, eigenvalues), in_dims, strict=False)
    ]
    checked = torch.ops.gcp.require_in_range(*(part.flatten(0, 1) for part in batched), name)
    return checked.unflatten(0, (size, -1)), 0


define_operator("require_in_range(Tensor Z, Tensor eigenvalues, str name) -> Tensor", _operator, _allocate, _vmap)


def out_of_range(values: Tensor, nonzero: Tensor) -> Tensor:
    """Mask (B,) of samples whose largest value (B, m) is not finite, or no normal number though ``nonzero`` has one."""
    largest = values.abs().amax(-1)
    vanished = (largest < torch.finfo(values.dtype).tiny) & (nonzero != 0).any(-1)
    return ~largest.isfinite() | vanished


def range_error(what: str, dtype: torch.dtype, scale: str, samples: tuple[int, ...]) -> DomainError:
    """The error that says the range; ``scale`` is what to scale."""
    limits = torch.finfo(dtype)
    kind = str(dtype).removeprefix("torch.")
    wider = "" if dtype == torch.float64 else ", or use float64"
    return DomainError(
        f"{what} is out of the range of {kind}, {limits.tiny:.2g} to {limits.max:.2g}; scale the {scale}{wider}",
        samples,
    )
