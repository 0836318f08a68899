"""The check that f is twice differentiable where it is asked; opaque to torch.compile and vmap."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gcp.errors import DerivativeError
from gcp.features import sample_list
from gcp.operators import define_operator, flattened


def require_curvature(curvature: Tensor, name: str) -> Tensor:
    """f''(lam) (B, n), if it is finite.

    Raises:
        DerivativeError: a matrix at which f has no second derivative, such as a singular one for the square root.
    """
    checked: Tensor = torch.ops.gcp.require_curvature(curvature, name)
    return checked


def _operator(curvature: Tensor, name: str) -> Tensor:
    infinite = ~curvature.isfinite().all(-1)
    if infinite.any():
        raise DerivativeError(
            f"the second derivative of {name} is infinite at an eigenvalue of matrix {sample_list(infinite)[0]}, which "
            "is singular; set eps, for instance eps=1e-5, or use covariance_function, which knows the features"
        )
    return curvature.clone()


def _allocate(curvature: Tensor, name: str) -> Tensor:
    return torch.empty_like(curvature)


def _vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
    return torch.ops.gcp.require_curvature(*flattened(info, in_dims, arguments)).unflatten(0, (info.batch_size, -1)), 0


define_operator("require_curvature(Tensor curvature, str name) -> Tensor", _operator, _allocate, _vmap)
