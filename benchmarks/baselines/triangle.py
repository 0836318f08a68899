"""The upper triangle as the classical layers take it: positions looked up in every call, gradient scattered."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class ClassicalTriangle(torch.autograd.Function):
    """Upper triangle with the diagonal, (B, C, C) to (B, C (C + 1)/2)."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        """Look up the positions of the triangle, then gather."""
        index = torch.ones(matrix.shape[1:], device=matrix.device).triu().flatten().nonzero().flatten()
        ctx.save_for_backward(index)
        ctx.shape = matrix.shape
        return matrix.flatten(1)[:, index]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """The gradient in the triangle, zeros below it."""
        (index,) = ctx.saved_tensors
        full = grad.new_zeros(ctx.shape).flatten(1)
        full[:, index] = grad
        return full.view(ctx.shape)
