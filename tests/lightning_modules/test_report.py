"""Rows, settings and statistics of a report, against numbers worked out by hand or by scipy on its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy import stats

from lightning_modules.plots.comparison import comparison_figure
from lightning_modules.plots.style import series_style
from lightning_modules.report.groups import comparisons, described, rows_of
from lightning_modules.report.runs import RunRecord
from lightning_modules.report.significance import significance
from lightning_modules.report.tables import markdown

ACCURACIES = {
    "pade": [0.90, 0.92, 0.91, 0.93, 0.90],
    "taylor": [0.89, 0.915, 0.90, 0.935, 0.89],
    "average": [0.70, 0.72, 0.69, 0.74, 0.71],
}


def record(method, seed, accuracy, asked=None, **config):
    summary = {
        "method": method, "seed": seed, "status": "ok" if accuracy is not None else "failed", "test/acc1": accuracy,
        "backbone": "tiny", "dataset": "digits", "train_seconds": 2.0, "error": None if accuracy else "no luck",
    }  # fmt: skip
    return RunRecord(Path(f"{method}-{seed}"), summary, asked or {}, config, [(1, 0.5), (2, accuracy or 0)])


@pytest.fixture
def runs():
    return [record(method, seed, value) for method, values in ACCURACIES.items() for seed, value in enumerate(values)]


def test_means_and_spreads(runs):
    pade = rows_of(runs)[0]
    assert pade.mean() == pytest.approx(0.912)
    assert pade.spread() == pytest.approx(stats.tstd(ACCURACIES["pade"]))
    assert pade.curve() == [(1, 0.5), (2, pytest.approx(0.912))]


def test_a_setting_is_what_differs(runs):
    other = [record("pade", seed, 0.5, {"trainer.max_epochs": "3", "seed": "1", "method": "pade"}) for seed in range(2)]
    rows = rows_of([*runs, *other])
    names = [described(setting) for setting, _ in comparisons(rows)]
    assert names == ["tiny on digits", "tiny on digits, trainer.max_epochs=3"]
    assert [len(group) for _, group in comparisons(rows)] == [3, 1]


def test_significance_is_paired_and_adjusted(runs):
    found = significance(rows_of(runs))
    raw = {
        ("pade", "taylor"): stats.ttest_rel(ACCURACIES["pade"], ACCURACIES["taylor"]).pvalue,
        ("pade", "average"): stats.ttest_rel(ACCURACIES["pade"], ACCURACIES["average"]).pvalue,
        ("taylor", "average"): stats.ttest_rel(ACCURACIES["taylor"], ACCURACIES["average"]).pvalue,
    }
    assert found.friedman == pytest.approx(stats.friedmanchisquare(*ACCURACIES.values()).pvalue)
    first, second, third = sorted(raw.values())
    holm = [3 * first, max(3 * first, 2 * second), max(3 * first, 2 * second, third)]
    assert [pair.p for pair in found.pairs] == pytest.approx(holm)
    assert "2 of 3 pairs differ at 5%" in found.sentence()
    assert "pade > average by 20.00%" in found.sentence()


def test_methods_that_do_not_differ_are_not_ranked():
    shifts = [(method, shift, seed) for shift, method in enumerate("ab") for seed in range(6)]
    same = [record(method, seed, 0.9 + 0.01 * ((seed + shift) % 3)) for method, shift, seed in shifts]
    assert "No two methods differ" in significance(rows_of(same)).sentence()
    constant = [record(method, seed, 0.9) for method in "abc" for seed in range(3)]
    assert "No two methods differ" in significance(rows_of(constant)).sentence()


def test_only_seeds_that_all_have_are_compared(runs):
    runs[0] = record("pade", 0, None)
    found = significance(rows_of(runs))
    assert found.seeds == ["1", "2", "3", "4"]
    text = markdown(rows_of(runs), "sweep.png")
    assert "- `pade-0`: no luck" in text


def test_one_seed_says_nothing(runs):
    assert "Fewer than two seeds" in significance(rows_of(runs[::5])).sentence()


def test_published_results_stand_beside(runs):
    published = {"pade": {"test/acc1": 0.8705}, "source": "ICCV 2021"}
    runs = [RunRecord(run.directory, run.summary, {}, {"published": published}, run.curve) for run in runs]
    text = markdown(rows_of(runs), "sweep.png")
    assert "| published |" in text
    assert "87.05%" in text
    assert "Published: ICCV 2021." in text
    assert len(comparison_figure(rows_of(runs)).axes) == 3


def test_hybrid_runs_are_named_by_both_methods():
    assert record("isqrt", 0, 0.5, switch={"to": "pade"}).method == "isqrt+pade"


def test_no_two_series_look_alike():
    looks = {tuple(sorted(series_style(position).items())) for position in range(40)}
    assert len(looks) == 40
