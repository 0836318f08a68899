"""Where the time of a layer goes."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import perf_counter

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

from gcp.covariance import covariance_root, spectral_method
from gcp.pooling.factory import create_pooling
from gcp.pooling.triangle import triangle_index, vech
from gcp.spectral.decomposition import factorise
from lightning_modules.analysis.gradients import spectral_methods
from lightning_modules.analysis.part import Part, Table
from lightning_modules.plots.style import legend_beside, tidy

CHANNELS, BATCH = 256, 8
SIDES = (7, 13, 14)
PHASES = ("decomposition", "root", "triangle", "kernel", "gradient")
HATCHES = ("", "//", "..", "xx", "--")

TEXT = (
    "Milliseconds of one forward and backward of {batch} maps of {channels} channels, on {threads} threads of the "
    "CPU, medians of {repeats} runs in turns. The parts add up to the total: `decomposition` is centring, Gram matrix, "
    "eigendecomposition and the factors, `triangle` the vectorisation, both timed alone, and `root` the rest of the "
    "forward, the product that forms the square root and what the layer checks; `kernel` is the method's own part, the "
    "only one in which methods differ, timed alone, and `gradient` the rest of the backward, its products."
)


def timing(repeats: int, tick: Callable[[], object]) -> Part:
    """Table and stacked bars."""
    rows: list[list[object]] = []
    for side in SIDES:
        cases = {method: _steps(method, side) for method in spectral_methods()}
        samples: dict[str, list[list[float]]] = {method: [] for method in cases}
        for turn in range(repeats + 1):
            for method, steps in cases.items():
                taken = [_seconds(step) for step in steps]
                if turn:  # the first is a warm-up
                    samples[method].append(taken)
            tick()
        for method, runs in samples.items():
            phases = [1e3 * part for part in parts(*(statistics.median(column) for column in zip(*runs, strict=True)))]
            rows.append([f"{side}x{side}", method, *phases, sum(phases)])
    text = TEXT.format(batch=BATCH, channels=CHANNELS, threads=torch.get_num_threads(), repeats=repeats)
    table = Table("time", ["map", "method", *(f"{phase} ms" for phase in PHASES), "total ms"], rows)
    return Part("time", "Where the time goes", text, [table], _figure(rows))


def parts(factors: float, triangle: float, kernel: float, forward: float, backward: float) -> list[float]:
    """Seconds of each of `PHASES`, none negative, which add up to ``forward + backward``.

    A part that was timed alone counts for at most what the others leave of the whole.
    """
    decomposition = min(factors, forward)
    vectorised = min(triangle, forward - decomposition)
    own = min(kernel, backward)
    return [decomposition, forward - decomposition - vectorised, vectorised, own, backward - own]


def _steps(method: str, side: int) -> list[Callable[[], object]]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(BATCH, CHANNELS, side, side, generator=generator).relu()
    grad = torch.randn(BATCH, CHANNELS * (CHANNELS + 1) // 2, generator=generator)
    prepared = spectral_method(method)
    flat = features.flatten(2)
    eigenvalues = factorise(flat, prepared.options).eigenvalues
    root = covariance_root(features, prepared)
    index = triangle_index(CHANNELS)
    pooling = create_pooling(method, CHANNELS)
    leaf = features.clone().requires_grad_()
    output: list[Tensor] = []

    def forward() -> None:
        output[:] = [pooling(leaf)]

    def backward() -> Tensor:
        (gradient,) = torch.autograd.grad(output[0], leaf, grad)
        return gradient

    return [
        lambda: factorise(flat, prepared.options),
        lambda: vech(root, index),
        lambda: prepared.loewner(eigenvalues, CHANNELS, side * side),
        forward,
        backward,
    ]


def _seconds(step: Callable[[], object]) -> float:
    start = perf_counter()
    step()
    return perf_counter() - start


def _figure(rows: list[list[object]]) -> Figure:
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    panels = figure.subplots(1, len(SIDES))
    colours = colormaps["cividis"](torch.linspace(0, 0.95, len(PHASES)).numpy())  # not those of methods
    for axes, side in zip(panels, SIDES, strict=True):
        chosen = [row for row in rows if row[0] == f"{side}x{side}"]
        left = [0.0] * len(chosen)
        for position, phase in enumerate(PHASES):
            widths = [float(str(row[2 + position])) for row in chosen]
            axes.barh([str(row[1]) for row in chosen], widths, left=left, color=colours[position], label=phase,
                      hatch=HATCHES[position], edgecolor="white", linewidth=0)  # fmt: skip
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.invert_yaxis()
        axes.set_title(f"{side}x{side}", loc="left", fontsize=11)
        axes.set_xlabel("ms")
        tidy(axes)
    legend_beside(figure, panels[0])
    return figure
