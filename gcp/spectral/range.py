"""The checks that results fit their type; opaque to torch.compile and vmap."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.dtypes import real_of
from gcp.errors import DomainError
from gcp.features import sample_list
from gcp.operators import define_operator, flattened


def require_in_range(Z: Tensor, eigenvalues: Tensor, name: str) -> None:
    """Raise DomainError where f(P) overflows its type, or vanishes though P does not; not in compiled programs.

    Args:
        Z: (B, C, C) or (B, m), of a function that scales with P.
        eigenvalues: (B, n) of P, in any units.
        name: of f.
    """
    if not torch.compiler.is_compiling():
        torch.ops.gcp.require_in_range(Z.detach(), eigenvalues.detach(), name)


def require_finite(vector: Tensor, matrix: Tensor, name: str) -> None:
    """Raise DomainError where ``vector`` (B, m) overflows its type and ``matrix`` (B, C, C) is finite; as above."""
    if not torch.compiler.is_compiling():
        present = matrix.detach().flatten(1).isfinite().all(1, keepdim=True)
        nothing = torch.zeros_like(vector[:, :1])  # what vanishes may
        torch.ops.gcp.require_in_range(torch.where(present, vector.detach(), 0), nothing, name)


def _operator(Z: Tensor, eigenvalues: Tensor, name: str) -> Tensor:
    outside = out_of_range(Z.flatten(1), eigenvalues)
    if outside.any():
        samples = sample_list(outside)
        raise range_error(f"{name} of the covariance of sample {samples[0]}", Z.dtype, "features", samples)
    return outside


def _allocate(Z: Tensor, eigenvalues: Tensor, name: str) -> Tensor:
    return Z.new_empty(len(Z), dtype=torch.bool)


def _vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
    return torch.ops.gcp.require_in_range(*flattened(info, in_dims, arguments)).unflatten(0, (info.batch_size, -1)), 0


define_operator("require_in_range(Tensor Z, Tensor eigenvalues, str name) -> Tensor", _operator, _allocate, _vmap)


def checked_values(
    values: Tensor, name: str, dtype: torch.dtype, degree: float | Tensor | None, unit: Tensor | None
) -> Tensor:
    """The eigenvalues (B, n) of f(P), if they are numbers that ``dtype`` holds; in exported programs unchecked.

    Args:
        values: of f, of matrices that were divided by ``unit``.
        name: of f.
        dtype: of the result.
        degree: d of f(c P) = c^d f(P); then values that vanish are out of range, too. None: f does not scale.
        unit: (B, 1, 1), or None.

    Raises:
        DomainError: a value that is not finite, or a result's largest one out of range; names the matrices.
    """
    if torch.compiler.is_exporting():
        return values
    largest = values.abs().amax(-1, keepdim=True).double()
    if unit is not None and degree is not None:
        largest = largest * unit.flatten(1).double() ** degree
    checked: Tensor = torch.ops.gcp.checked_values(values, largest.to(real_of(dtype)), degree is not None, name)
    return checked


def _check_values(values: Tensor, largest: Tensor, scales: bool, name: str) -> Tensor:
    finite = values.isfinite().all(-1)
    if not finite.all():
        samples = sample_list(~finite)
        raise DomainError(f"{name} is not finite at an eigenvalue of matrix {samples[0]}", samples)
    outside = out_of_range(largest, values if scales else torch.zeros_like(values))
    if outside.any():
        samples = sample_list(outside)
        raise range_error(f"{name} of matrix {samples[0]}", largest.dtype, "matrix", samples)
    return values.clone()


def _allocate_values(values: Tensor, largest: Tensor, scales: bool, name: str) -> Tensor:
    return torch.empty_like(values)


def _vmap_values(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
    return torch.ops.gcp.checked_values(*flattened(info, in_dims, arguments)).unflatten(0, (info.batch_size, -1)), 0


define_operator(
    "checked_values(Tensor values, Tensor largest, bool scales, str name) -> Tensor",
    _check_values,
    _allocate_values,
    _vmap_values,
)


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
