"""The page on conditioning: what is read from runs, and what is concluded from the numbers."""

from __future__ import annotations

import math

import pytest
from scipy.stats import ttest_rel

from benchmarks.conditioning import Result, against, page, sweep
from tests.small import SMALL


def results(shift: float) -> list[Result]:
    noise = (0.0, 0.1, -0.1, 0.05)
    none = [Result("digits", "none", seed, 3 + each, 0.9) for seed, each in enumerate(noise)]
    return none + [Result("digits", "weights", seed, 3 - shift + 0.9 * each, 0.9) for seed, each in enumerate(noise)]


def test_p_values_are_adjusted_after_holm():
    base, others = [1.0, 2.0, 3.0, 4.0], [[1.1, 2.3, 3.2, 4.1], [1.0, 2.0, 3.0, 4.0], [1.1, 1.9, 3.3, 4.0]]
    raw = [ttest_rel(others[0], base).pvalue, 1.0, ttest_rel(others[2], base).pvalue]
    assert against(base, others) == pytest.approx([3 * raw[0], 1.0, 2 * raw[2]])


def test_the_page_says_what_the_numbers_show():
    text = page(results(1.0), "command")
    assert "| none | 3.01 ± 0.09 |  | 90.00 ± 0.00 |  |" in text
    assert "The condition number is changed at 5% by: weights (times 0.1)." in text
    assert "Accuracy is changed by none of them at 5%." in text
    assert "All 8 runs finished." in text
    assert "The condition number is changed by none of them at 5%." in page(results(0.0), "command")


@pytest.mark.slow
def test_runs_of_every_combination(tmp_path):
    found = sweep(tmp_path, "digits", 1, [*SMALL, "callbacks.spectrum_every_n_steps=1", "method.reduced_channels=4"])
    assert len({result.remedies for result in found}) == len(found) == 8
    assert all(math.isfinite(result.condition) and 0 <= result.accuracy <= 1 for result in found)
