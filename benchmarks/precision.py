"""Gradient error of each precision against a float64 oracle; writes benchmarks/precision.md.

python -m benchmarks.precision
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gcp.pooling.factory import create_pooling

CHANNELS = 256
SIZES = (7, 13, 14, 28)
DECADES = (4, 5, 6)
METHODS = ("lyapunov", "pade", "original")
LIMITS = {"mixed": 1e-5, "float32": 5e-5}

PAGE = """# Precision of the gradient

Relative error |g - g*|/|g*| (Frobenius norm) of dℓ/dx for float32 feature maps of {channels} channels whose covariance
has eigenvalues spread evenly, on a logarithmic scale, over 4, 5 and 6 decades; dℓ/dy is noise. The oracle g* is
`lyapunov` in float64 on the dense path, which agrees with a 50-digit evaluation of the same formula to 1e-12
(`tests/gcp/test_precision.py`). Made by `python -m benchmarks.precision`.

{table}

Required: at most 1e-5 for mixed, 5e-5 for float32.

| precision | when |
|---|---|
| `mixed` (default) | always, unless one of the others is needed: float64 is spent on the decomposition alone |
| `float64` | double precision input, second derivatives, checks of gradients |
| `float32` | hardware without usable float64; an SVD of the features, slower than `eigh` of their square on a CPU |
"""


def features(channels: int, size: int, decades: float, seed: int = 0) -> Tensor:
    """(1, channels, size, size) float32 with covariance eigenvalues 10^0 to 10^-decades."""
    generator = torch.Generator().manual_seed(seed)
    positions = size * size
    rank = min(channels, positions - 1)
    U = torch.linalg.qr(torch.randn(channels, rank, generator=generator, dtype=torch.float64))[0]
    rows = torch.randn(positions, rank, generator=generator, dtype=torch.float64)
    V = torch.linalg.qr(rows - rows.mean(0))[0]
    roots = torch.logspace(0, -decades / 2, rank, dtype=torch.float64)
    matrix: Tensor = (U * roots) @ V.T * positions**0.5
    return matrix.reshape(1, channels, size, size).float()


def gradient(x: Tensor, name: str, **options: Any) -> Tensor:
    """dℓ/dx in float64 for a dℓ/dy of noise."""
    x = x.detach().clone().requires_grad_()
    y = create_pooling(name, in_channels=x.shape[1], **options)(x)
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (grad,) = torch.autograd.grad(y, x, noise.to(y.dtype))
    double: Tensor = grad.double()
    return double


def error(x: Tensor, name: str, precision: str) -> float:
    """Relative error of the method's gradient for features ``x``."""
    oracle = gradient(x.double(), "lyapunov", precision="float64", path="dense")
    return float((gradient(x, name, precision=precision) - oracle).norm() / oracle.norm())


def main() -> None:
    """Measure and write the page."""
    lines = ["| map | method | precision | " + " | ".join(f"{d} decades" for d in DECADES) + " |", "|---" * 6 + "|"]
    for size in SIZES:
        maps = [features(CHANNELS, size, decades) for decades in DECADES]
        for name in METHODS:
            for precision in LIMITS:
                figures = " | ".join(f"{error(x, name, precision):.1e}" for x in maps)
                lines.append(f"| {size}x{size} | {name} | {precision} | {figures} |")
                print(lines[-1], flush=True)
    page = PAGE.format(channels=CHANNELS, table="\n".join(lines))
    Path(__file__).with_suffix(".md").write_text(page)


if __name__ == "__main__":
    main()
