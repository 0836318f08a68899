"""Pictures of `benchmarks.finetuning`."""

from __future__ import annotations

import statistics
from typing import Any

from matplotlib.figure import Figure

from benchmarks.finetuning_runs import JUDGED, METHODS
from benchmarks.finetuning_study import Study, monitored
from lightning_modules import metric_names as names
from lightning_modules.plots.style import method_styles, tidy

STYLED = {"hybrid": "isqrt+pade"}
ROUNDING = 1e-8  # of float32 features: errors below are none


def figures(study: Study) -> dict[str, Figure]:
    """By the name of the file."""
    looks = method_styles([STYLED.get(method, method) for method in METHODS])
    styles = {method: looks[STYLED.get(method, method)] for method in METHODS}
    return {"finetuning": _results(study, styles), "finetuning_layer": _layer(study, styles)}


def _results(study: Study, styles: dict[str, dict[str, Any]]) -> Figure:
    picture = Figure(figsize=(13, 4.2), layout="constrained")
    axes = picture.subplots(1, 3, width_ratios=(1.2, 1, 1))
    values = study.values("balanced accuracy")
    for position, method in enumerate(METHODS):
        found = [100 * value for value in values[method].values()]
        look = styles[method]
        axes[0].plot(found, [position] * len(found), "|", color="0.55", markersize=9)
        if found:
            spread = statistics.stdev(found) if len(found) > 1 else None
            axes[0].errorbar(
                statistics.fmean(found), position, xerr=spread, color=look["color"], marker=look["marker"], capsize=3,
                markersize=7,
            )  # fmt: skip
    axes[0].set_yticks(range(len(METHODS)), METHODS)
    axes[0].invert_yaxis()
    axes[0].set_xlabel("test balanced accuracy %: seeds, mean, std")
    for panel, (name, label) in zip(
        axes[1:], ((names.TRAIN_LOSS, "training loss"), (JUDGED, "validation balanced accuracy %")), strict=True
    ):
        factor = 100 if name == JUDGED else 1
        for method in METHODS:
            curves = [
                {epoch["epoch"]: factor * epoch[name] for epoch in result["curve"] if name in epoch}
                for result in study.runs[method].values()
                if result["error"] is None
            ]
            epochs = sorted(set.intersection(*map(set, curves))) if curves else []
            means = [statistics.fmean(curve[epoch] for curve in curves) for epoch in epochs]
            panel.plot(epochs, means, **styles[method], label=method, markersize=5)
        panel.set_xlabel("epoch")
        panel.set_ylabel(label)
    for panel in axes:
        tidy(panel)
    picture.legend(*axes[2].get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside right center")
    return picture


def _layer(study: Study, styles: dict[str, dict[str, Any]]) -> Figure:
    picture = Figure(figsize=(13, 7), layout="constrained")
    panels = picture.subplots(2, 3).ravel()
    for panel, when in zip(panels, ("before", "after"), strict=False):
        for method in METHODS:
            spectra = [result["spectra"].get(when) for result in study.runs[method].values()]
            found = [[value / spectrum[0] for value in spectrum[:24]] for spectrum in spectra if spectrum]
            if found:
                middle = [statistics.median(each) for each in zip(*found, strict=True)]
                panel.semilogy(range(1, len(middle) + 1), middle, **styles[method], label=method, markersize=4)
        panel.set_title(f"spectra {when} training", loc="left", fontsize=11)
        panel.set_xlabel("eigenvalue")
        panel.set_ylabel("share of the largest")
    shown = (
        (names.CONDITION, "condition number"),
        (names.SMALLEST_GAP, "smallest relative gap"),
        (names.GRAD_ERROR, "gradient error (1e-8: none)"),
        (names.SMOOTHNESS, "beta-smoothness"),
    )
    for panel, (name, title) in zip(panels[2:], shown, strict=True):
        for method in METHODS:
            runs = [dict(run) for run in monitored(study, method, name) if run]
            steps = sorted(set.intersection(*map(set, runs))) if runs else []
            middle = [statistics.median(run[step] for run in runs) for step in steps]
            if name == names.GRAD_ERROR:
                middle = [max(value, ROUNDING) for value in middle]  # 0: the exact method itself
            if steps:
                panel.semilogy(steps, middle, **styles[method], label=method, markersize=5)
        panel.set_title(title, loc="left", fontsize=11)
        panel.set_xlabel("step")
    for panel in panels:
        tidy(panel)
    picture.legend(*panels[0].get_legend_handles_labels(), frameon=False, fontsize=9, loc="outside right center")
    return picture
