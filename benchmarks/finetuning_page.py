"""The page of `benchmarks.finetuning`: tables, statistics, and sentences that follow from them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.finetuning_runs import (
    EPOCHS,
    GRID_EPOCHS,
    GRID_SEED,
    METHODS,
    MORE_RATES,
    RATES,
    SEEDS,
    Done,
    judged,
    searched,
    searching,
)
from benchmarks.finetuning_study import METRICS, Study, conclusions, listed, monitored
from benchmarks.paired import compared, difference, over_images
from benchmarks.report import table
from lightning_modules import metric_names as names

COMMAND = "python -m benchmarks.finetuning"
COMPARISONS = {"average": METHODS, "isqrt": METHODS, "pade": ("taylor", "newton", "lyapunov", "halley")}


def _line(text: str) -> str:
    return " ".join(text.split())


INTRODUCTION = _line(f"""
    EfficientNet-Lite0 of ImageNet, from a package, on 2,624 images of solar cells, defective or intact:
    `recipe=solar_lite0_*` with {EPOCHS} epochs. 160 px give 5 x 5 positions for 256 channels, so covariances of
    rank 24; all but the last stage is frozen; AdamW, cosine schedule, balanced class weights. The division into
    parts is the same for every run, seeds change new weights and the order of images. Tested is the best epoch by
    validation balanced accuracy. Hybrid: isqrt, then pade for the last third.
""")
RATES_CHOSEN = _line(f"""
    Chosen, in bold, is the rate with the best validation balanced accuracy (in %, mean of the last half of
    {GRID_EPOCHS} epochs), with seed {GRID_SEED}, which is none of the study's. These runs were not tested.
""")
RESULTS = _line("""
    Mean ± standard deviation over the seeds. Calibration error: expected, 15 bins (torchmetrics). Seconds of one
    processor thread for an epoch, its validation included and the frozen stages not, median; other work was done on
    the machine. Failed: runs; repaired: decompositions that did not converge at first or held NaN.
""")
EFFECTS = _line("""
    Differences in points, with 95% intervals over seeds (Student's t), d: the mean difference in standard
    deviations of the differences, p: as above, Holm's adjustment over all pairs. Last column: 95% interval of the
    difference in accuracy over test images, for these trained networks.
""")
MORE_SEEDS = f" Seeds beyond the first {SEEDS} were added after the results of those had been seen."
LAYER = _line("""
    By the spectrum monitor, once an epoch, medians over images, then seeds: condition number of the covariances
    (eigenvalues that are not null) and effective rank, first to last measurement; smallest relative gap of two
    neighbouring eigenvalues, the least of all measurements; relative error of dℓ/dx against the exact derivative,
    median; effective beta-smoothness of the convolution before the layer, median and largest. average and bilinear
    take no root.
""")
LIMITS = _line("""
    One network, one dataset, one division into parts, a short budget, a coarse grid of rates searched with one
    seed. So few seeds and a t-test find large differences only; that two methods do not differ here is no evidence
    that they are equal. Intervals over seeds hold for these 525 test images, those over images for these trained
    networks. Cells of one module may lie in several parts. Covariances have rank 24, so nothing is learnt about
    full rank.
""")


def write(done: Done, out: Path) -> Path:
    """Write finetuning.md and its pictures into ``out``; the path of the page."""
    from benchmarks.finetuning_figures import figures

    study = Study(done)
    for name, figure in figures(study).items():
        figure.savefig(out / "results" / f"{name}.png", dpi=130)
    file = out / "finetuning.md"
    file.write_text(page(study))
    return file


def page(study: Study) -> str:
    """All of it."""
    parts = [
        "# Fine-tuning a pretrained network on real images",
        f"`{COMMAND}`. {INTRODUCTION} {len(study.seeds)} seeds.",
        *_missing(study),
        "## Learning rates",
        f"Rates of new layers; pretrained ones have a tenth. {RATES_CHOSEN}",
        _rates(study),
        *_edges(study),
    ]
    if len(study.seeds) < 2:
        return "\n\n".join([*parts, "Fewer than two seeds are done: nothing to compare."]) + "\n"
    parts += [
        "## Results on the test part",
        RESULTS,
        _results(study),
        "![test accuracies and learning curves](results/finetuning.png)",
        *_tests(study),
        "## Effects",
        EFFECTS,
        *(_effects(study, base, methods) for base, methods in COMPARISONS.items()),
        "## What happens in the layer",
        LAYER,
        _layer(study),
        "![spectra, condition, gradient error, smoothness](results/finetuning_layer.png)",
        "## What follows",
        "\n".join(f"- {sentence}" for sentence in conclusions(study)),
        "## What the evidence does not show",
        LIMITS + (MORE_SEEDS if len(study.seeds) > SEEDS else ""),
    ]
    return "\n\n".join(parts) + "\n"


def _missing(study: Study) -> list[str]:
    if len(study.seeds) >= SEEDS:
        return []
    more = f", and {study.more} runs of further seeds that do not count yet" if study.more else ""
    return [f"Not complete: {len(study.seeds)} of {SEEDS} seeds are done{more}; `{COMMAND}` goes on where it stopped."]


def _rates(study: Study) -> str:
    rows = []
    tried = [rate for rate in (*RATES, *MORE_RATES) if any(rate in searched(study.done, each) for each in METHODS)]
    for method in METHODS:
        found = [study.done.get(searching(method, rate)) for rate in tried]
        cells = ["" if result is None else f"{100 * judged(result):.1f}" for result in found]
        bold = [f"**{cell}**" if rate == study.rates[method] else cell for rate, cell in zip(tried, cells, strict=True)]
        rows.append((method, *bold))
    return "\n".join(table(("method", *(f"{rate:g}" for rate in tried)), rows)).rstrip()


def _edges(study: Study) -> list[str]:
    edge = [method for method in METHODS if study.rates[method] in (RATES[0], MORE_RATES[-1])]
    if not edge:
        return []
    return [f"At the edge of the grid, so that a rate beyond may be better: {listed(edge)}."]


def _results(study: Study) -> str:
    rows = []
    for method, runs in study.runs.items():
        cells = []
        for metric in METRICS:
            values = list(study.values(metric)[method].values())
            cells.append(spread([100 * value for value in values]))
        seconds = [second for result in runs.values() for second in result["epoch_seconds"]]
        rows.append((method, f"{study.rates[method]:g}", *cells, f"{statistics.median(seconds):.1f}", _stability(runs)))
    head = ("method", "rate", *(f"{metric} %" for metric in METRICS), "s an epoch", "failed, repaired")
    return "\n".join(table(head, rows)).rstrip()


def _stability(runs: dict[int, dict[str, Any]]) -> str:
    failed = sum(result["error"] is not None for result in runs.values())
    repaired = sum(sum(result.get("repairs", {}).values()) for result in runs.values())
    return f"{failed}, {repaired}"


def spread(values: list[float]) -> str:
    """Mean ± standard deviation, empty for none."""
    if not values:
        return ""
    return f"{statistics.fmean(values):.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")


def _tests(study: Study) -> list[str]:
    return [f"{metric[0].upper()}{metric[1:]}. {compared(study.values(metric)).sentence()}" for metric in METRICS]


def _effects(study: Study, base: str, methods: Iterable[str]) -> str:
    """Differences from ``base``: interval over seeds, effect size, adjusted p; of accuracy also over images."""
    values = {metric: study.values(metric) for metric in METRICS}
    adjusted = {
        metric: {frozenset((pair.first, pair.second)): pair.p for pair in compared(by_method).pairs}
        for metric, by_method in values.items()
    }
    rows = []
    for method in methods:
        seeds = study.common(method, base)
        if method == base or len(seeds) < 2:
            continue
        cells = []
        for metric, by_method in values.items():
            found = difference(*([by_method[each][seed] for seed in seeds] for each in (method, base)))
            size = "" if found.size is None else f", d {found.size:.1f}"
            p = adjusted[metric].get(frozenset((method, base)))
            tested = "" if p is None else f", p {p:.2g}"
            cells.append(f"{100 * found.mean:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]{size}{tested}")
        low, high = over_images(*([study.runs[each][seed]["right"] for seed in seeds] for each in (method, base)))
        rows.append((method, *cells, f"[{100 * low:.1f}, {100 * high:.1f}]"))
    head = (f"minus {base}", *METRICS, "accuracy, interval over images")
    return "\n".join(table(head, rows)).rstrip()


def _layer(study: Study) -> str:
    rows = []
    for method in METHODS:
        cells = []
        for name in (names.CONDITION, names.EFFECTIVE_RANK):
            runs = [run for run in monitored(study, method, name) if run]
            ends = [statistics.median(run[at][1] for run in runs) for at in (0, -1)] if runs else []
            cells.append(" to ".join(f"{value:.3g}" for value in ends))
        gaps = [value for run in monitored(study, method, names.SMALLEST_GAP) for _, value in run]
        cells.append(f"{min(gaps):.1e}" if gaps else "")
        errors = [value for run in monitored(study, method, names.GRAD_ERROR) for _, value in run]
        cells.append(f"{statistics.median(errors):.1e}" if errors else "")
        smooth = [value for run in monitored(study, method, names.SMOOTHNESS) for _, value in run]
        cells.append(f"{statistics.median(smooth):.2g}, {max(smooth):.2g}" if smooth else "")
        rows.append((method, *cells))
    head = ("method", "condition", "effective rank", "smallest gap", "gradient error", "beta-smoothness")
    return "\n".join(table(head, rows)).rstrip()
