"""The floor: the time of what no spectral layer of this form can do without.

Centring and conversion to float64; the smaller of the Gram matrix Xc^T Xc and the covariance Xc Xc^T, in float64; its
eigendecomposition, spread over the cores; vech and its adjoint (one gather each). Products in float32, n = min(C, N):

    forward   N < C: U = Xc V (C N n), Z = U diag(f) U^T (C n C)          else: Z
    backward  G U (C C n), U^T (G U) (C n n), U (L o A) (C n n)
              N < C: T V^T (C n N)                                        else: T U^T (C n C), dℓ/dP Xc (C C N)

Elementwise work on n x n matrices, the kernel itself among it, is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gcp.pooling.triangle import triangle_index
from gcp.spectral.lapack import eigh


class Floor:
    """The unavoidable work for features (B, C, H, W), as two steps to time."""

    def __init__(self, features: Tensor, grad: Tensor) -> None:
        self.x = features.detach().flatten(2)
        self.grad = grad
        channels, positions = self.x.shape[-2:]
        self.gram = positions < channels
        self.index = triangle_index(channels).to(features.device)
        rank = torch.arange(len(self.index), device=features.device)
        mirror = torch.zeros(channels * channels, dtype=torch.long, device=features.device)
        mirror[self.index] = rank
        mirror = mirror.view(channels, channels)
        self.mirror = torch.maximum(mirror, mirror.mT).flatten()

    def forward(self) -> Tensor:
        """Decompose and form the triangle of Z."""
        centred = self.x.double()
        centred = (centred - centred.mean(-1, keepdim=True)) / centred.shape[-1] ** 0.5
        matrix = centred.mT @ centred if self.gram else centred @ centred.mT
        eigenvalues, vectors = eigh(matrix)
        self.V, self.Xc = vectors.float(), centred.float()
        self.U = self.Xc @ self.V if self.gram else self.V
        Z = (self.U * eigenvalues.float().unsqueeze(-2)) @ self.U.mT
        return Z.flatten(-2).index_select(-1, self.index)

    def backward(self) -> Tensor:
        """The products between the gradient of the triangle and the gradient of the features."""
        channels = self.x.shape[-2]
        G = self.grad.index_select(-1, self.mirror).view(-1, channels, channels)
        T = self.U @ (self.U.mT @ (G @ self.U))
        return T @ self.V.mT if self.gram else (T @ self.U.mT) @ self.Xc
