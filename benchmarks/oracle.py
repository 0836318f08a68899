"""Exact value and gradient of the square root of the covariance, in float64, from the SVD of the centred features."""

from __future__ import annotations

import torch
from torch import Tensor


def exact(features: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Upper triangle (B, C (C + 1)/2) and the gradient of <triangle, grad> with respect to features (B, C, H, W)."""
    x = features.detach().double().flatten(2)
    channels, positions = x.shape[-2:]
    centred = (x - x.mean(-1, keepdim=True)) / positions**0.5
    row, column = torch.triu_indices(channels, channels, device=x.device)
    values, gradients = [], []
    for matrix, weights in zip(centred, grad.double(), strict=True):
        U, root, Vh = torch.linalg.svd(matrix, full_matrices=False)
        present = root > root[0] * max(channels, positions) * torch.finfo(root.dtype).eps
        U, root, Vh = U[:, present], root[present], Vh[present]
        values.append(((U * root) @ U.mT)[row, column])
        G = torch.zeros(channels, channels, dtype=x.dtype, device=x.device)
        G[row, column] = weights
        GU = (G + G.mT) / 2 @ U
        A = U.mT @ GU
        inside = U @ (A * root / (root[:, None] + root))
        gradients.append(2 * (inside + GU - U @ A) @ Vh)
    gradient = torch.stack(gradients)
    gradient = (gradient - gradient.mean(-1, keepdim=True)) / positions**0.5
    return torch.stack(values), gradient.view(features.shape)


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest relative error of a sample in the Frobenius norm; NaN if anything is."""
    difference = (found.double() - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
    return float(difference.max())
