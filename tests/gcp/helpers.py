"""What the tests of the layers share: inputs, comparison, and gradients written down without the library."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gcp.methods import METHODS, list_methods
from gcp.pooling.factory import create_pooling

SPECTRAL = [name for name in list_methods() if METHODS.get(name).kernel is not None]
UNCUT = [name for name in SPECTRAL if METHODS.get(name).keep is None]


# D of a pair of eigenvalues: kernel(larger, smaller, i, j) is L_ij for i before j in descending order
PairKernel = Callable[[float, float, int, int], float]


def has_meaning(method: str, function: str) -> bool:
    """Whether the kernel of the method is a gradient of the function of that name."""
    functions = METHODS.get(method).functions
    return functions is None or function in functions


def pooling(name: str, channels: int, precision: str = "float64", **options: object) -> nn.Module:
    return create_pooling(name, in_channels=channels, precision=precision, **options)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grad_out(channels: int, batch: int = 1, seed: int = 99) -> Tensor:
    return noise(batch, channels * (channels + 1) // 2, seed=seed)


def orthogonal(size: int, seed: int = 1) -> Tensor:
    return torch.linalg.qr(noise(size, size, seed=seed))[0]


def with_spectrum(eigenvalues: list[float], positions: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features (1, C, 1, N) whose covariance is U diag(eigenvalues) U^T, and U (C, C)."""
    channels = len(eigenvalues)
    U = orthogonal(channels, seed + 1)
    rows = noise(positions, channels, seed=seed + 2)
    V = torch.linalg.qr(rows - rows.mean(0))[0]
    lam = torch.tensor(eigenvalues, dtype=torch.float64)
    return ((U * lam.sqrt()) @ V.T * positions**0.5)[None, :, None, :], U


def forward_backward(layer: nn.Module, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Output and dℓ/dx for dℓ/dy = ``gradient``."""
    x = x.detach().clone().requires_grad_()
    y = layer(x)
    y.backward(gradient.to(y.dtype))
    assert x.grad is not None
    return y.detach(), x.grad


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected magnitude."""
    assert found.shape == expected.shape
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())


def covariance(x: Tensor) -> Tensor:
    """Covariances (B, C, C) with the N x N centring matrix that the library avoids, float64 and differentiable."""
    flat = x.double().flatten(2)
    positions = flat.shape[-1]
    eye = torch.eye(positions, dtype=torch.float64)
    centring = (eye - torch.full_like(eye, 1 / positions)) / positions
    return flat @ centring @ flat.mT


def symmetric(gradient: Tensor, channels: int) -> Tensor:
    """sym(G) for the gradient of one sample's upper triangle."""
    G = torch.zeros(channels, channels, dtype=torch.float64)
    position = 0
    for row in range(channels):
        for column in range(row, channels):
            G[row, column] = gradient[position]
            position += 1
    return (G + G.T) / 2


def unvech(y: Tensor, channels: int) -> Tensor:
    """Symmetric matrices (B, C, C) from their upper triangles."""
    return torch.stack([2 * symmetric(row, channels) - symmetric(row, channels).diagonal().diag() for row in y])


def dense_gradient(x: Tensor, gradient: Tensor, kernel: PairKernel) -> Tensor:
    """dℓ/dx by U (L o A) U^T on the C x C covariance, L filled entry by entry; float64, no trace term.

    The diagonal is 1/(2 sqrt lam). Entries of two null eigenvalues stay 0: they never reach x.
    """
    results = []
    for sample, vector in zip(x.double(), gradient.double(), strict=True):
        flat = sample.flatten(1)
        channels, positions = flat.shape
        centred = (flat - flat.mean(1, keepdim=True)) / positions**0.5
        ascending, vectors = torch.linalg.eigh(centred @ centred.T)
        lam, U = ascending.flip(0), vectors.flip(1)
        lam = torch.where(lam > 1e-13 * lam[0], lam, 0)
        L = torch.zeros(channels, channels, dtype=torch.float64)
        for i in range(channels):
            if lam[i] > 0:
                L[i, i] = 0.5 / float(lam[i]) ** 0.5
                for j in range(i + 1, channels):
                    L[i, j] = L[j, i] = kernel(float(lam[i]), float(lam[j]), i, j)
        to_covariance = U @ (L * (U.T @ symmetric(vector, channels) @ U)) @ U.T
        to_centred = 2 * to_covariance @ centred
        to_flat = (to_centred - to_centred.mean(1, keepdim=True)) / positions**0.5
        results.append(to_flat.reshape(sample.shape))
    return torch.stack(results)


def exact_pair(larger: float, smaller: float, i: int = 0, j: int = 0) -> float:
    """Divided difference of the square root, free of cancellation."""
    return float(1 / (larger**0.5 + smaller**0.5))
