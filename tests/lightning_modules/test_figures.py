"""Every figure the project makes, with plain and with awkward content: nothing collides, nothing is cut off or lost."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from benchmarks import report as layers
from benchmarks import study
from gcp.methods import list_methods
from lightning_modules.analysis import gradients, smoothness, timing
from lightning_modules.analysis.approximation import approximation
from lightning_modules.analysis.bounds import bounds
from lightning_modules.plots.confusion import confusion_figure
from lightning_modules.plots.style import LOOKS, METHODS, label, labels, method_styles, series_style
from lightning_modules.report.groups import rows_of
from lightning_modules.report.picture import CURVES, SHOWN, comparison_figure, not_drawn, panels
from lightning_modules.report.runs import RunRecord
from lightning_modules.report.tables import markdown
from tests.slow import slow_unless

RESULTS = Path(study.HERE) / "results"
SLACK = 2.0  # pixels that two texts may overlap, or that one may reach beyond the edge, without anybody seeing it


def faults(figure: Figure) -> list[str]:
    """Tick labels of an axis that overlap, and texts that reach beyond the picture."""
    FigureCanvasAgg(figure).draw()
    found = []
    width, height = figure.bbox.width, figure.bbox.height
    for axes in figure.axes:
        if not axes.get_visible():
            continue
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            boxes = [(text.get_text(), text.get_window_extent()) for text in ticks if text.get_text()]
            for (first, one), (second, other) in itertools.pairwise(boxes):
                across = min(one.x1, other.x1) - max(one.x0, other.x0)
                along = min(one.y1, other.y1) - max(one.y0, other.y0)
                if across > SLACK and along > SLACK:
                    found.append(f"'{first}' and '{second}' overlap")
            for text, box in [*boxes, (axis.label.get_text(), axis.label.get_window_extent())]:
                if text and (min(box.x0, box.y0) < -SLACK or box.x1 > width + SLACK or box.y1 > height + SLACK):
                    found.append(f"'{text}' is cut off")
        if axes.get_label() != "<colorbar>" and axes.bbox.width < 0.15 * width / max(
            len({each.bbox.x0 for each in figure.axes}), 1
        ):
            found.append("a panel is squeezed")
    return found


def run(method, seed, accuracy, asked=None, dataset="digits", epochs=15):
    generator = random.Random(f"{method}{seed}")
    summary = {
        "method": method, "seed": seed, "status": "failed" if accuracy is None else "ok", "test/acc1": accuracy,
        "backbone": "tiny", "dataset": dataset, "train_seconds": generator.uniform(1000, 20_000), "error": "x",
    }  # fmt: skip
    curve = [(epoch, min(1, max(0, (accuracy or 0) * (1 - 0.7**epoch)))) for epoch in range(1, epochs + 1)]
    return RunRecord(Path(f"{method}-{seed}"), summary, asked or {}, {}, curve)


LONG = [f"a_plugin_with_a_very_long_name_of_a_pooling_method_number_{k}_for_tests" for k in range(17)]
RATES = [f"{10 ** (-k / 6):.4g}" for k in range(30)]
SWEEPS = {
    "every method": [run(method, seed, 0.9 + 0.001 * seed) for method in METHODS for seed in range(3)],
    "long names": [run(method, seed, 0.8 + 0.01 * seed, dataset="long_" * 60) for method in LONG for seed in range(3)],
    "one run": [run("pade", 0, 0.31476321816444397, epochs=1)],
    "one of nothing": [run("pade", 0, 0.0, epochs=0)],
    "failures and NaN": [run("pade", 0, None), run("taylor", 0, float("nan")), run("pi", 0, None)],
    "formulas": [run("$x_{", 0, 0.5), run("$y^", 0, 0.6)],
    "thirty settings of one method": [run("pade", seed, 0.5, {"optimizer.lr": lr}) for lr in RATES for seed in (0, 1)],
    "twelve settings of two": [
        run(method, 0, 0.5, {"optimizer.lr": lr}) for lr in RATES[:12] for method in ("pade", "isqrt+pade")
    ],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", SWEEPS)
def test_sweeps(name):
    rows = rows_of(SWEEPS[name])
    figure = comparison_figure(rows)
    assert faults(figure) == []
    for panel in panels(rows):
        assert len(set(panel.labels)) == len(panel.rows)
    for part in figure.subfigs:
        for legend in part.legends:
            texts = [text.get_text() for text in legend.get_texts()]
            assert len(set(texts)) == len(texts) == min(len(panels(rows)[0].rows), len(texts))


def test_what_is_left_out_is_said_in_the_picture_and_on_the_page():
    for name, sentence in (
        ("twelve settings of two", f"the last {12 - SHOWN} of 12 settings"),
        ("thirty settings of one method", f"all learning curves but the {CURVES} with the best results"),
    ):
        rows = rows_of(SWEEPS[name])
        assert sentence in not_drawn(rows)
        assert sentence in comparison_figure(rows).get_supxlabel()
        assert sentence in markdown(rows, "sweep.png", caption=not_drawn(rows))
    assert not_drawn(rows_of(SWEEPS["every method"])) == ""


def test_learning_curves_show_their_spread():
    runs = [run("pade", seed, 0.5 + 0.1 * seed) for seed in range(3)]
    axes = comparison_figure(rows_of(runs)).axes[2]
    assert len(axes.collections) == 1
    _, high = axes.collections[0].get_paths()[0].get_extents().intervaly
    end = [curve[1] for each in runs for curve in each.curve[-1:]]
    assert high == pytest.approx(sum(end) / 3 + torch.tensor(end).std().item(), abs=1e-6)
    assert len(comparison_figure(rows_of(runs[:1])).axes[2].collections) == 0


def test_equal_curves_are_both_to_be_seen():
    axes = comparison_figure(rows_of([run("pade", 0, 0.5), run("taylor", 0, 0.5)])).axes[2]
    below, above = axes.lines
    assert below.get_linewidth() > above.get_linewidth()
    assert below.get_markersize() > above.get_markersize()


NAMES = {
    "digits": [str(k) for k in range(10)],
    "long": [f"a rather long name of a class of birds, the {k}th kind, with subspecies" for k in range(12)],
    "many": [f"{k:03d}.Black_footed_Albatross" for k in range(200)],
    "formulas": ["$x_{", "$y^", "a|b"],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("images", [0, 7])
def test_confusion_matrices(name, images):
    names = NAMES[name]
    figure = confusion_figure(images * torch.eye(len(names), dtype=torch.int64), names)
    assert faults(figure) == []
    written = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(set(written)) == len(written)
    assert "nan" not in figure.axes[0].get_title()


def analysis_figures():
    yield "approximation", approximation().figure
    yield "bounds", bounds().figure
    x = {"gradients_condition": gradients.CONDITIONS, "gradients_gap": gradients.GAPS}
    errors = {
        name: {(method, precision): [1e-9] * len(values) for method in gradients.spectral_methods()
               for precision in gradients.PRECISIONS}
        for name, values in x.items()
    }  # fmt: skip
    yield "gradients", gradients._figure(gradients.spectral_methods(), *errors.values())
    for scale in (1e-3, 1e7):
        curves = {
            method: [(step, scale * (step + 1) ** power, 3.0 + step, 2.0) for step in range(0, 120, 3)]
            for power, method in enumerate(smoothness.METHODS)
        }
        yield f"smoothness {scale}", smoothness._figure(curves)
    for unit in (1e-3, 1e4):
        rows = [
            [f"{side}x{side}", method, *[unit] * len(timing.PHASES), unit * 5]
            for side in timing.SIDES for method in gradients.spectral_methods()
        ]  # fmt: skip
        yield f"time {unit}", timing._figure(rows)


@pytest.mark.filterwarnings("error")
def test_the_analysis():
    assert {name: found for name, figure in analysis_figures() if (found := faults(figure))} == {}


def scaled(report, factor, spread):
    """The report with all times multiplied, and those of one layer once more."""
    report = json.loads(json.dumps(report))
    for case in report["cases"]:
        for name, row in case["layers"].items():
            row["total_s"] *= factor * (spread if name == "classical newton" else 1)
    return report


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("factor", "spread"), slow_unless([(1, 1)], [(1, 1), (1e-3, 1), (1, 1e4), (1e3, 1)]))
def test_the_benchmarks_of_layers(factor, spread):
    report = json.loads((RESULTS / "layers.json").read_text())
    figure = layers.figure(scaled(report, factor, spread))
    assert faults(figure) == []
    for axes in figure.axes:
        if axes.get_visible():
            low, high = axes.get_xlim()
            assert sum(low <= tick <= high for tick in axes.get_xticks()) >= 2  # an axis can be read


def test_the_study():
    assert faults(study.figure(rows_of(study.records(study.read(RESULTS / "study.jsonl"))))) == []


def test_a_method_has_one_look_in_every_figure():
    assert set(list_methods()) <= set(METHODS)
    alone = {name: method_styles([name])[name] for name in (*METHODS, "mine", "isqrt+pade")}
    together = method_styles(alone)
    assert {name: together[name] for name in METHODS} == {name: alone[name] for name in METHODS}
    assert len({repr(look) for look in together.values()}) == len(together)
    rows = rows_of([run(method, 0, 0.5) for method in ("lyapunov", "taylor", "pade")])
    for position, method in enumerate(("lyapunov", "taylor", "pade")):
        axes = comparison_figure(rows).axes
        assert to_hex(axes[2].lines[position].get_color()) == alone[method]["color"].lower()
    plotted = dict(analysis_figures())
    for name in ("gradients", "smoothness 0.001"):
        for line in plotted[name].axes[0].lines:
            assert to_hex(line.get_color()) == alone[line.get_label()]["color"].lower()


def test_no_two_looks_are_alike():
    assert len({repr(series_style(position)) for position in range(LOOKS)}) == LOOKS
    many = [f"plugin{k}" for k in range(60)]
    assert len({repr(look) for look in method_styles(many).values()}) == 60


def test_long_labels_lose_their_middle_and_stay_apart():
    assert label("short") == "short"
    assert len(label("x" * 100)) == 32
    assert len(set(labels(LONG))) == len(LONG)
    assert labels(["a", "a"]) == ["a", "a"]
