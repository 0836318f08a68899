"""Fine-tuning: which rates are tried and chosen, that the page follows from the runs, and a run."""

from __future__ import annotations

import pytest

from benchmarks.finetuning import HERE, pending
from benchmarks.finetuning_page import page
from benchmarks.finetuning_runs import (
    EPOCHS,
    GRID_SEED,
    JUDGED,
    METHODS,
    MORE_RATES,
    RATES,
    Case,
    chosen_rate,
    grid,
    read,
    run,
    searched,
    searching,
    study,
)
from benchmarks.finetuning_study import Study
from lightning_modules import metric_names as names

DONE = read(HERE / "results/finetuning.jsonl")


def judged_as(values, error=None):
    return {"error": error, "curve": [{"epoch": epoch, JUDGED: value} for epoch, value in enumerate(values, 1)]}


def searches(scores):
    return {searching("pade", lr): judged_as([0.0, score]) for lr, score in scores.items()}


def test_the_best_rate_on_the_validation_part_is_chosen():
    done = searches(dict(zip(RATES, (0.7, 0.9, 0.8, 0.6), strict=True)))
    assert chosen_rate(done, "pade") == RATES[1]
    failed = {**done, searching("pade", RATES[1]): judged_as([0.9, 0.9], "the loss is NaN or infinite")}
    assert chosen_rate(failed, "pade") == RATES[2]
    del done[searching("pade", RATES[0])]
    assert chosen_rate(done, "pade") is None
    assert chosen_rate(done, "taylor") is None


def test_larger_rates_are_tried_where_the_largest_is_best():
    done = searches(dict(zip(RATES, (0.6, 0.7, 0.8, 0.9), strict=True)))
    assert searched(done, "pade") == [*RATES, MORE_RATES[0]]
    assert chosen_rate(done, "pade") is None  # not before that has been tried
    assert searching("pade", MORE_RATES[0]) in set(grid(done))
    done |= searches({MORE_RATES[0]: 0.5})
    assert searched(done, "pade") == [*RATES, MORE_RATES[0]]
    assert chosen_rate(done, "pade") == RATES[-1]


def test_rates_are_not_chosen_by_the_test_part():
    assert not any(case.tested for case in grid({}))
    assert not any(result["test"] for case, result in DONE.items() if not case.tested)
    assert {case.seed for case in DONE if case.tested}.isdisjoint(case.seed for case in DONE if not case.tested)


def test_every_run_says_how_it_was_started():
    assert all(result["overrides"] == case.overrides for case, result in DONE.items())


def test_seeds_count_that_every_method_has_done():
    found = Study(DONE)
    assert all(sorted(runs) == found.seeds for runs in found.runs.values())
    last = next(case for case in DONE if case.tested and case.method == "hybrid" and case.seed == found.seeds[-1])
    fewer = Study({case: result for case, result in DONE.items() if case != last})
    assert fewer.seeds == found.seeds[:-1]
    assert fewer.more == found.more + len(METHODS) - 1
    assert last in set(study(DONE, last.seed + 1))


def test_only_what_is_missing_is_done_the_search_for_rates_first():
    seeds = len(Study(DONE).seeds)
    assert pending(DONE, seeds) == []
    lost = {case for case in DONE if case.seed in (1, GRID_SEED) and case.method == "newton"}
    left = {case: result for case, result in DONE.items() if case not in lost}
    assert set(pending(left, seeds)) == {case for case in lost if not case.tested}
    left |= {case: DONE[case] for case in lost if not case.tested}
    assert set(pending(left, seeds)) == {case for case in lost if case.tested}


def test_the_page_is_that_of_the_runs():
    assert page(Study(DONE)) == (HERE / "finetuning.md").read_text()


@pytest.mark.slow
def test_a_run_is_repeatable(tmp_path):
    case = Case("pade", 0, 1, 1e-3, True)
    first, second = run(case, tmp_path), run(case, tmp_path)
    for name in ("epoch_seconds",):
        first.pop(name), second.pop(name)
    assert first == second
    assert first["error"] is None
    assert first["test"][names.TEST_ACCURACY] > 0.7
    assert first["right"].count("1") / len(first["right"]) == pytest.approx(
        first["test"][names.TEST_ACCURACY], abs=1e-6
    )
    assert 0 < first["calibration_error"] < 0.3
    assert len(first["spectra"]["before"]) == len(first["spectra"]["after"]) == 25
    assert case.epochs <= EPOCHS
