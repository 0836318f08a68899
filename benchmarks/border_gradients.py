"""Gradient errors of the library's and of the historical kernels where the literature expects trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import historical
from benchmarks.historical import Errata, HistoricalPooling
from benchmarks.oracle import exact
from gcp.pooling.factory import create_pooling

LIBRARY = ("lyapunov", "pade", "original", "trunc", "topn", "taylor", "pi", "newton", "halley", "lorentz")
CHANNELS, SAMPLES = 16, 4
POSITIONS = 36  # no power of 2, where a centring matrix in float32 would be exact
KINDS = {
    "library, float64": ("library", torch.float64),
    "library, float32 features": ("library", torch.float32),
    "historical, float64": ("historical", torch.float64),
    "historical, float32": ("historical", torch.float32),
}


def with_spectrum(eigenvalues: Tensor) -> Tensor:
    """Features (SAMPLES, CHANNELS, POSITIONS, 1), float64, whose covariances have these eigenvalues (CHANNELS,)."""
    generator = torch.Generator().manual_seed(0)
    shape = (SAMPLES, POSITIONS, CHANNELS)
    rows = torch.randn(shape, generator=generator, dtype=torch.float64)
    V = torch.linalg.qr(rows - rows.mean(1, keepdim=True))[0]
    U = torch.linalg.qr(torch.randn(SAMPLES, CHANNELS, CHANNELS, generator=generator, dtype=torch.float64))[0]
    features: Tensor = (U * eigenvalues.sqrt()) @ V.mT * POSITIONS**0.5
    return features.unsqueeze(-1)


def rectified(positions: float, scale: float = 1.0) -> Tensor:
    """Features of 32 channels behind a ReLU, as a network gives them."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(2 * CHANNELS, CHANNELS, generator=generator, dtype=torch.float64)
    return (
        scale * (mix @ torch.randn(SAMPLES, CHANNELS, int(positions), generator=generator).double()).relu()[..., None]
    )


SWEEPS: dict[str, tuple[str, tuple[float, ...], Callable[[float], Tensor]]] = {
    "clusters": (
        "relative gap of neighbouring eigenvalues",
        (*(10.0**-power for power in range(1, 19)), 0.0),
        lambda gap: with_spectrum(1 - gap * torch.arange(CHANNELS, dtype=torch.float64) / 2),
    ),
    "condition": (
        "condition number of the covariance",
        tuple(10.0**power for power in range(1, 18)),
        lambda condition: with_spectrum(condition ** -torch.linspace(0, 1, CHANNELS, dtype=torch.float64)),
    ),
    "rank": (
        "positions, of 32 channels",
        (4, 9, 16, 20, 25, 30, 33, 36, 49, 81, 100, 144, 196),
        rectified,
    ),
    "scale": (
        "scale of the features",
        tuple(10.0**power for power in range(-10, 11, 2)),
        lambda scale: rectified(49, scale),
    ),
}


def layer(kind: str, method: str, channels: int) -> nn.Module:
    """The pooling layer of a kind; the library's on float32 features is in its default precision, mixed."""
    family, dtype = KINDS[kind]
    if family == "historical":
        return HistoricalPooling(method, dtype=dtype)
    options: dict[str, Any] = {"precision": "float64" if dtype == torch.float64 else "mixed"}
    return create_pooling(method, in_channels=channels, **options)


def methods(kind: str) -> Iterable[str]:
    """The methods of a kind."""
    return LIBRARY if KINDS[kind][0] == "library" else historical.METHODS


def error(kind: str, method: str, features: Tensor) -> float:
    """The error of a kind's layer of that method."""
    return _error(layer(kind, method, features.shape[1]), features.to(KINDS[kind][1]))


def _error(pooling: nn.Module, features: Tensor) -> float:
    """|g - g*|/|g*| of dℓ/dx for a dℓ/dy of noise, the largest of the samples; infinite where g is not finite."""
    x = features.detach().requires_grad_()
    y = pooling(x)
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = torch.autograd.grad(y, x, noise.to(y.dtype))[0].detach().double()
    _, expected = exact(x, noise)
    ratio = (found - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
    return float(ratio.max()) if bool(ratio.isfinite().all()) else float("inf")


WORST: dict[str, Callable[[], Tensor]] = {
    "exactly equal eigenvalues": lambda: with_spectrum(torch.ones(CHANNELS, dtype=torch.float64)),
    "25 positions, 32 channels": lambda: rectified(25),
    "full rank": lambda: rectified(100),
    "features of size 1e-8": lambda: rectified(49, 1e-8),
}
ERRATA = {
    "all": Errata(),
    "ties": Errata(True, False, False),
    "floor": Errata(False, True, False),
    "centring": Errata(False, False, True),
    "none": Errata(False, False, False),
}


def attribution() -> list[dict[str, Any]]:
    """The historical kernel's error in bad cases with all its mistakes, each alone, and none, in float64."""
    return [
        {
            "case": case,
            "method": method,
            **{
                name: float(f"{_error(HistoricalPooling(method, errata), features()):.3g}")
                for name, errata in ERRATA.items()
            },
        }
        for case, features in WORST.items()
        for method in historical.METHODS
        if method != "pi"
    ]


def measure() -> list[dict[str, Any]]:
    """Every sweep, kind and method: the errors beside the values of the sweep."""
    rows = []
    for sweep, (_, values, features) in SWEEPS.items():
        made = [features(value) for value in values]
        for kind in KINDS:
            for method in methods(kind):
                errors = [float(f"{error(kind, method, x):.3g}") for x in made]
                rows.append({"sweep": sweep, "kind": kind, "method": method, "values": values, "errors": errors})
    return rows
