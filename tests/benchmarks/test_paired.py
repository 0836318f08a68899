"""Differences over seeds and images, against formulas written out."""

from __future__ import annotations

import doctest

import pytest
from scipy import stats

from benchmarks import paired
from benchmarks.lines import append, read


def test_examples():
    assert doctest.testmod(paired).failed == 0


def test_interval_and_effect_of_a_difference():
    first, second = [0.9, 0.8, 0.85, 0.95], [0.7, 0.75, 0.8, 0.8]
    found = paired.difference(first, second)
    interval = stats.ttest_rel(first, second).confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.size == pytest.approx(stats.ttest_rel(first, second).statistic / 4**0.5)


def test_comparisons_are_paired_by_seed():
    noise = {0: 0.0, 1: 0.1, 2: -0.1, 3: 0.05}
    found = paired.compared({"a": noise, "b": {seed: value + 0.01 + 0.001 * seed for seed, value in noise.items()}})
    assert (
        found.pairs[0].p < 0.01 < 0.1 < stats.ttest_ind(list(noise.values()), [v + 0.01 for v in noise.values()]).pvalue
    )


def test_a_line_cut_short_does_not_count_and_is_replaced(tmp_path):
    file = tmp_path / "lines.jsonl"
    append(file, {"a": 1})
    file.write_text(file.read_text() + '{"a": 2')
    assert read(file) == [{"a": 1}]
    append(file, {"a": 3})
    assert read(file) == [{"a": 1}, {"a": 3}]
