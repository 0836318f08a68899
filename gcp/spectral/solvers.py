"""Which way eigendecompositions in float64 go: on the device, in float32 and refined there, or on the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from gcp.spectral import lapack
from gcp.spectral.lapack import Parts
from gcp.spectral.refined import refined_eigh

REPEATS = 3


def eigh(matrix: Tensor, solver: str = "device") -> Parts:
    """`lapack.eigh` of (B, n, n), the way ``solver`` says, one of `gcp.spectral.spectral_options.SOLVERS`.

    >>> eigh(torch.eye(2, dtype=torch.float64).unsqueeze(0), "refined")[0]
    tensor([[1., 1.]], dtype=torch.float64)
    """
    return WAYS[fastest(matrix) if solver == "fastest" else solver](matrix)


def _refined(matrix: Tensor) -> Parts:
    return lapack.eigh(matrix, refined_eigh)


def _on_cpu(matrix: Tensor) -> Parts:
    return tuple(part.to(matrix.device) for part in lapack.eigh(matrix.cpu()))


WAYS: dict[str, Callable[[Tensor], Parts]] = {"device": lapack.eigh, "refined": _refined, "cpu": _on_cpu}

_FOUND: dict[tuple[object, ...], str] = {}


def fastest(matrix: Tensor) -> str:
    """The way that was fastest for a batch like this one (B, n, n), measured when it first came, in this process.

    Batches are alike if they have one size, type and device, and as many matrices within a factor of two.
    """
    alike = (matrix.device, matrix.dtype, matrix.shape[-1], len(matrix).bit_length())
    if alike not in _FOUND:
        ways = [way for way in WAYS if way != "cpu" or matrix.device.type != "cpu"]
        _FOUND[alike] = min(ways, key=lambda way: _seconds(WAYS[way], matrix))
    return _FOUND[alike]


def _seconds(way: Callable[[Tensor], Parts], matrix: Tensor) -> float:
    way(matrix)
    taken = []
    for _ in range(REPEATS):
        _wait(matrix.device)
        start = time.perf_counter()
        way(matrix)
        _wait(matrix.device)
        taken.append(time.perf_counter() - start)
    return min(taken)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
