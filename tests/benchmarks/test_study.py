"""The study: its page follows from its runs, and a run is what it says."""

from __future__ import annotations

import pytest
import torch

from benchmarks.study import (
    CONDITIONS,
    HERE,
    HYBRID,
    METHODS,
    SEEDS,
    Case,
    conclusions,
    named,
    page,
    read,
    records,
    run,
)
from lightning_modules.report.groups import comparisons, rows_of

DONE = read(HERE / "results/study.jsonl")


def test_the_page_is_that_of_the_runs():
    lines = page(rows_of(records(DONE)), "python -m benchmarks.study").splitlines()
    written = (HERE / "study.md").read_text().splitlines()
    assert [line for line in lines if "torch" not in line] == [line for line in written if "torch" not in line]


def test_every_method_ran_under_every_condition_with_every_seed():
    assert all(
        Case(method, "fashion_mnist", "rank-deficient", "mixed", seed) in DONE
        for method in METHODS
        for seed in range(SEEDS)
    )
    for dataset in ("digits", "textures"):
        for condition in CONDITIONS:
            for method in METHODS:
                for seed in range(SEEDS):
                    assert Case(method, dataset, condition, "mixed", seed) in DONE


def test_conclusions_name_what_diverged_and_what_differs():
    def case(method, seed, accuracy):
        result = {"accuracy": accuracy, "seconds": 1.0, "error": None if accuracy else "the loss is NaN or infinite"}
        return Case(method, "digits", "large rate", "mixed", seed), result

    noise = (0.0, 0.01, -0.01, 0.005)
    runs = [case("pade", seed, 0.9 + each) for seed, each in enumerate(noise)]
    runs += [case("average", seed, 0.5 + 1.1 * each) for seed, each in enumerate(noise)]
    runs += [case("taylor", seed, None) for seed in range(4)]
    found = conclusions([(named(group), group) for _, group in comparisons(rows_of(records(dict(runs))))])
    assert any(sentence.endswith("runs that diverged or collapsed: taylor (4 of 4).") for sentence in found)
    assert any("pade is 40.0 points above average" in sentence for sentence in found)


@pytest.mark.slow
@pytest.mark.parametrize("method", [HYBRID, "taylor"])
def test_a_run_is_repeatable(method):
    threads = torch.get_num_threads()
    case = Case(method, "textures", "rank-deficient", "mixed", 1)
    first, second = run(case), run(case)
    torch.set_num_threads(threads)
    assert first["accuracy"] == second["accuracy"] > 0.8
    assert first["loss"] == second["loss"]
