"""Rows, settings and statistics of a report, against numbers worked out by hand or by scipy on its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy import stats

from lightning_modules.plots.style import series_style
from lightning_modules.report.groups import comparisons, described, rows_of, sections
from lightning_modules.report.picture import comparison_figure
from lightning_modules.report.runs import RunRecord
from lightning_modules.report.significance import significance
from lightning_modules.report.tables import conclusions, markdown

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


def configured(
    seed, accuracy=0.5, method="pade", mode="fit", name="run", started="2026-01-01T00:00:00+00:00", **options
):
    """A run with a resolved configuration, where ``optimizer__lr`` is ``optimizer.lr``."""
    config = {
        "mode": mode, "seed": seed, "ckpt_path": None, "method": {"name": method, "degree": 100},
        "data": {"name": "digits", "root": None, "seed": seed}, "optimizer": {"name": "sgd", "lr": 0.1},
        "logger": {"name": "csv"}, "callbacks": {"monitor": "val/acc1", "progress_bar": True}, "switch": {"to": None},
    }  # fmt: skip
    asked = {}
    for key, value in options.items():
        section, _, option = key.partition("__")
        if option:
            config[section][option] = value
        else:
            config[section] = value
        asked[key.replace("__", ".")] = str(value)
    summary = record(method, seed, accuracy).summary
    return RunRecord(Path(name), {**summary, "mode": mode, "started": started}, asked, config)


def test_a_replicate_is_the_same_setting_with_another_seed():
    assert len(rows_of([configured(seed) for seed in range(3)])) == 1
    neutral = [configured(0), configured(1, logger={"name": "wandb"}), configured(2, callbacks__progress_bar=False)]
    assert len(rows_of(neutral)) == 1
    own = configured(1, name="mine", ckpt_path="runs/mine/checkpoints/last.ckpt")  # went on after an interruption
    assert len(rows_of([configured(0), own])) == 1
    for change in (
        {"data__root": "elsewhere"}, {"optimizer__lr": 0.2}, {"method__degree": 7}, {"callbacks__monitor": "val/loss"},
        {"mode": "test"}, {"ckpt_path": "published.pth.tar"}, {"data__seed": 5}, {"compile": True},
    ):  # fmt: skip
        rows = rows_of([configured(0), configured(1), configured(2, **change)])
        assert [len(row.runs) for row in rows] == [2, 1], change


def test_a_seed_that_ran_twice_counts_once_and_the_other_is_named():
    old, new = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"
    runs = [
        configured(0, 0.5, name="old", started=old),
        configured(0, 0.7, name="new", started=new),
        configured(1, 0.6),
    ]
    failed = configured(1, None, name="failed", started=new)
    (row,) = rows_of([*runs, failed])
    assert row.mean() == pytest.approx(0.65)
    assert len(row.runs) == 2
    assert row.failed == []
    text = markdown([row], "sweep.png")
    assert "- `old`: the same run as new, seed 0 again, and no further replicate" in text
    assert "- `failed`: the same run as run" in text


def test_a_sweep_over_options_is_one_table_with_a_column_for_each():
    rates, degrees = (0.01, 0.1), (5, 50)
    runs = [
        configured(seed, method="taylor", optimizer__lr=rate, method__degree=degree)
        for rate in rates for degree in degrees for seed in range(2)
    ]  # fmt: skip
    (section,) = sections(rows_of(runs))
    assert section.columns == ["method.degree", "optimizer.lr"]
    assert sorted(section.cells(row) for row in section.rows) == [
        ["5", "0.01"],
        ["5", "0.1"],
        ["50", "0.01"],
        ["50", "0.1"],
    ]
    lines = markdown(rows_of(runs), "sweep.png").splitlines()
    assert sum(line.startswith("| method | method.degree | optimizer.lr | test acc |") for line in lines) == 1
    names = [row.name for row in rows_of(runs)]
    assert names[:2] == ["taylor degree=5", "taylor degree=50"]  # rows that are compared have names of their own


def test_arguments_name_the_setting_where_they_tell_all_of_it():
    changes = {"optimizer": {"name": "adamw", "lr": 0.001, "weight_decay": 0.05}}
    runs = [configured(seed) for seed in range(2)]
    for seed in range(2):
        run = configured(seed, **changes)
        run.asked.clear()
        run.asked.update(optimizer="adamw", seed=str(seed))
        runs.append(run)
    assert [section.columns for section in sections(rows_of(runs))] == [["optimizer"]]
    runs[0].asked["optimizer.lr"] = "0.1"  # the default, spelt out: no other setting
    (section,) = sections(rows_of(runs))
    assert [len(row.runs) for row in section.rows] == [2, 2]


def test_a_method_alone_gets_no_sentence(runs):
    (section,) = sections(rows_of([run for run in runs if run.method == "pade"]))
    assert conclusions(section) == []
    degrees = [
        configured(seed, 0.5 + 0.1 * seed, "taylor", method__degree=degree) for degree in (5, 50) for seed in (0, 1)
    ]
    (section,) = sections(rows_of(degrees))
    assert conclusions(section) == []
    two = [run for run in runs if run.method != "average"]
    two = [run if run.method == "pade" else record("taylor", run.seed, None) for run in two]
    (section,) = sections(rows_of(two))
    assert conclusions(section) == ["Nothing to compare: pade alone has a result."]


def test_one_nan_is_not_averaged_away(runs):
    runs[0].summary["test/loss"] = float("nan")
    text = markdown(rows_of(runs), "sweep.png")
    assert "| nan |" in text


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
