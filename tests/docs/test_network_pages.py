"""The pages on networks and on decompositions: their examples run, from the top of a page to its end."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("page", ["into_your_network", "hub", "linalg"])
def test_the_examples_run(page, monkeypatch, tmp_path, capsys):
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(examples) >= 2
    monkeypatch.chdir(tmp_path)
    exec("".join(examples), {})
    shown = re.findall(r"\nprints\n\n {4}(.*?)\n", text)
    printed = capsys.readouterr().out
    assert all(line in printed for line in shown)
