"""The covariance of the classical layers: P = X Ibar X^T with the N x N centring matrix Ibar = (I - 1 1^T/N)/N."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def centring_matrix(x: Tensor) -> Tensor:
    """Ibar for features (B, C, N), one copy per sample as the classical layers keep it: (B, N, N)."""
    positions = x.shape[-1]
    identity = torch.eye(positions, dtype=x.dtype, device=x.device)
    centring = identity / positions - torch.full_like(identity, 1 / positions**2)
    return centring.repeat(len(x), 1, 1)


class ClassicalCovariance(torch.autograd.Function):
    """P = X Ibar X^T, (B, C, N) to (B, C, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Two products, the first of them with the N x N matrix."""
        centring = centring_matrix(x)
        ctx.save_for_backward(x, centring)
        return x.bmm(centring).bmm(x.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """dℓ/dX = (G + G^T) X Ibar."""
        x, centring = ctx.saved_tensors
        return (grad + grad.mT).bmm(x).bmm(centring)
