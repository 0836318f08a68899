"""Condition number and beta-smoothness during a short training run of several methods."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from datamodules.base import ImageDataModule
from gcp.diagnostics.condition import condition_number
from gcp.diagnostics.smoothness import ETAS, effective_smoothness
from gcp.errors import NonFiniteError
from gcp.model import create_model
from lightning_modules.analysis.part import Part, Table
from lightning_modules.plots.style import legend_beside, method_styles, nested, plain_logarithmic, tidy
from lightning_modules.switching import pooling_of, weights_before

METHODS = ("isqrt", "original", "pade")
PUBLISHED = {1: 3.41e14, 11: 5.36e13, 21: 1.70e13}  # AlexNet on ImageNet, original: epoch and condition number
CHANNELS = 32

TEXT = (
    "Each method trains {backbone} on {dataset} for {steps} steps from the same weights on the same batches; "
    "every {every} steps the convolution before the pooling layer is moved along its gradient by 0.25 to 2 "
    "learning rates, and the largest change of its gradient per length of the step is its effective "
    "beta-smoothness. The paper (AlexNet, ImageNet) reports spikes of several orders of magnitude for SVD layers "
    "and none for iSQRT-COV. Here the largest value over the median of the run is {spikes}. {reading} The paper's "
    "condition numbers of the covariance are {published} at epochs 1, 11 and 21; here they are {conditions} at "
    "the end, for two reasons: eigenvalues that are null to rounding are left out, where the reference raises "
    "them to eps and counts them, so that any rank-deficient covariance has about 1e14; and the network and the "
    "data are much smaller."
)
READINGS = {
    True: "So the paper's contrast shows here too.",
    False: "So the paper's contrast does not show in so small an experiment.",
}


def smoothness(
    data: ImageDataModule, backbone: dict[str, Any], optimizer: dict[str, Any], seed: int, steps: int, every: int,
    tick: Callable[[], object],
) -> Part:  # fmt: skip
    """Train, measure, compare."""
    curves = {method: list(_trained(method, data, backbone, optimizer, seed, steps, every, tick)) for method in METHODS}
    rows = [[method, *point] for method, curve in curves.items() for point in curve]
    betas = {method: [point[3] for point in curve] for method, curve in curves.items()}
    spikes = {method: max(values) / statistics.median(values) for method, values in betas.items()}
    svd = max(spikes["original"], spikes["pade"])
    reading = READINGS[svd > 10 * spikes["isqrt"]]
    last = {method: statistics.median([point[2] for point in curve][-5:]) for method, curve in curves.items()}
    text = TEXT.format(
        backbone=backbone["name"], dataset=data.options.__class__.__name__.removesuffix("Options").lower(), steps=steps,
        every=every, reading=reading, spikes=", ".join(f"{spikes[m]:.1f} for {m}" for m in METHODS),
        published=", ".join(f"{value:.2e}" for value in PUBLISHED.values()),
        conditions=", ".join(f"{last[m]:.1e} ({m})" for m in METHODS),
    )  # fmt: skip
    summary = [
        [m, statistics.median(betas[m]), max(betas[m]), spikes[m], last[m], PUBLISHED[21] if m == "original" else None]
        for m in METHODS
    ]
    header = ["method", "beta, median", "beta, largest", "largest/median", "condition at the end"]
    tables = [
        Table("smoothness", [*header, "published (AlexNet, epoch 21)"], summary),
        Table("smoothness_steps", ["method", "step", "loss", "condition", "beta"], rows, page=[]),
    ]
    return Part("smoothness", "Smoothness and condition during training", text, tables, _figure(curves))


def _trained(
    method: str, data: ImageDataModule, backbone: dict[str, Any], optimizer: dict[str, Any], seed: int, steps: int,
    every: int, tick: Callable[[], object],
) -> Iterator[tuple[int, float, float, float]]:  # fmt: skip
    """(step, loss, condition number, beta) at every measurement."""
    torch.manual_seed(seed)
    options = {key: value for key, value in backbone.items() if key not in ("name", "hidden", "class_token")}
    model = create_model(
        backbone["name"], method, data.num_classes, reduced_channels=CHANNELS, hidden=backbone.get("hidden"),
        class_token=backbone.get("class_token"),
        backbone_options=options,
    )  # fmt: skip
    parameter = weights_before(model)
    lr = float(optimizer["lr"])
    sgd = torch.optim.SGD(model.parameters(), lr=lr, momentum=float(optimizer.get("momentum", 0.9)))
    seen: list[Tensor] = []
    pooling_of(model).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    cross_entropy = nn.CrossEntropyLoss()
    step = 0
    while step < steps:
        for images, labels in data.train_dataloader():
            if step % every == 0:
                seen.clear()
                loss = lambda images=images, labels=labels: cross_entropy(model(images), labels)  # noqa: E731
                beta = effective_smoothness(loss, parameter, [eta * lr for eta in ETAS], [model])
                condition = condition_number(seen[0]).nanmedian().item()
            sgd.zero_grad()
            value = cross_entropy(model(images), labels)
            if not torch.isfinite(value):
                raise NonFiniteError(f"{method} diverged at step {step}; try a smaller optimizer.lr")
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            sgd.step()
            if step % every == 0:
                yield step, value.item(), condition, beta
            step += 1
            tick()
            if step == steps:
                return


def _figure(curves: dict[str, list[tuple[int, float, float, float]]]) -> Figure:
    figure = Figure(figsize=(12, 4), layout="constrained")
    panels = figure.subplots(1, 3)
    looks = method_styles(curves)
    for axes, column, label in zip(
        panels, (3, 2, 1), ("effective beta-smoothness", "condition number", "loss"), strict=True
    ):
        for position, (method, curve) in enumerate(curves.items()):
            shape = nested(position, len(curves), len(curve))
            axes.plot([p[0] for p in curve], [p[column] for p in curve], **looks[method], **shape, label=method)
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        plain_logarithmic(axes.yaxis, [p[column] for curve in curves.values() for p in curve])
        tidy(axes)
    legend_beside(figure, panels[0])
    return figure
