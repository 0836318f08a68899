"""iSQRT-COV: the square root by Newton-Schulz in C x C matrices, forward and backward (arXiv 1712.01034)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from benchmarks.baselines.covariance import ClassicalCovariance
from benchmarks.baselines.newton_schulz import Iterates, differentiate, iterate, square_root
from benchmarks.baselines.triangle import ClassicalTriangle


class NewtonSchulzRoot(torch.autograd.Function):
    """Square root of P, (B, C, C); keeps every iterate for the backward."""

    @staticmethod
    def forward(ctx: Any, covariance: Tensor, steps: int) -> Tensor:
        """Iterate and keep Y_k and Z_k."""
        A, trace, pairs, last = iterates = iterate(covariance, steps)
        ctx.save_for_backward(A, trace, last, *(matrix for pair in pairs for matrix in pair))
        return square_root(iterates)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The paper's backward iteration."""
        A, trace, last, *matrices = ctx.saved_tensors
        pairs = list(zip(matrices[::2], matrices[1::2], strict=True))
        return differentiate(Iterates(A, trace, pairs, last), grad), None


class ISqrtPooling(nn.Module):
    """(B, C, H, W) to (B, C (C + 1)/2), computed in ``dtype``."""

    def __init__(self, dtype: torch.dtype, steps: int = 5) -> None:
        super().__init__()
        self.dtype = dtype
        self.steps = steps

    def forward(self, features: Tensor) -> Tensor:
        """Covariance, square root, triangle."""
        covariance = ClassicalCovariance.apply(features.flatten(2).to(self.dtype))
        vector: Tensor = ClassicalTriangle.apply(NewtonSchulzRoot.apply(covariance, self.steps)).to(features.dtype)
        return vector
