"""The README is short, its set-up commands are those of CI, and what it shows is what is printed."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_set_up_commands_are_those_of_ci():
    ci = (ROOT / ".ci/run").read_text()
    assert ".venv/bin/python -m pytest" in README
    assert ".venv/bin/python -m pytest" in ci
    assert "-e '.[dev]'" in README
    assert "-e '.[dev]'" in ci


def test_it_is_for_the_first_five_minutes():
    assert len(re.sub(r"\]\([^)]*\)", "]", README).split()) <= 1000


@pytest.mark.slow
def test_the_first_command_prints_what_it_shows(cli):
    """But for its numbers, with an epoch on few images; times and the directory are the reader's own."""
    shown = re.search(r"^It prints .*?```text\n(.*?)^```", README, re.S | re.M)[1].splitlines()
    outcome = cli("trainer.max_epochs=1", "trainer.limit_train_batches=2", "callbacks.progress_bar=false")
    assert outcome.code == 0, outcome.err
    assert shown[0] in outcome.out
    for line in shown:
        form = re.sub(r"[\d.,/-]*\d[\d.,/-]*", "NUMBER", line)
        pattern = re.escape(form).replace("outputs", ".*outputs/").replace("NUMBER", r"[\d.,/-]+")
        assert line == "..." or re.search(pattern, outcome.out + outcome.err), line
