"""The measurements for a GPU: every part runs, on a CPU at tiny sizes; and none says so in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import PARTS, main
from benchmarks.gpu_parts import collectives, decompositions, waits
from gcp.methods import list_methods


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_ends_in_one_sentence(tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["--out", str(tmp_path)])
    message = str(stop.value.code)
    assert message.startswith("benchmarks.gpu measures on a GPU, and torch")
    assert "\n" not in message
    assert not list(tmp_path.iterdir())


def test_decompositions_are_timed_and_compared():
    (row,) = decompositions(torch.device("cpu"), [2], [6], repeats=1)
    assert {"device", "refined", "cpu", "float32 alone"} <= set(row)
    assert row["refined_error"] < 1e-13


@pytest.mark.slow
def test_all_reduce_over_two_processes():
    found = collectives(torch.device("cpu"), 1000, repeats=2)
    assert found["processes"] == 2
    assert found["seconds"] > 0


@pytest.mark.slow
def test_every_part_runs_and_what_is_there_stays(tmp_path: Path) -> None:
    command = ["--quick", "--device", "cpu", "--out", str(tmp_path)]
    main(command)
    results = tmp_path / "gpu.json"
    report = json.loads(results.read_text())
    assert set(report["parts"]) == set(PARTS)
    layers = {row["layer"].split()[0] for row in report["parts"]["looks"]}
    assert layers == set(list_methods())
    page = (tmp_path / "gpu.md").read_text()
    assert f"torch {torch.__version__}" in page
    for heading in ("Ways to decompose", "16x3x3", "Training steps", "Waiting", "Several GPUs", "Growth"):
        assert f"\n## {heading}" in page
    report["parts"]["steps"][0]["pooling"] = "measured before"
    del report["parts"]["collectives"]
    results.write_text(json.dumps(report))
    main([*command, "--parts", "steps", "collectives"])
    again = json.loads(results.read_text())
    assert again["parts"]["steps"][0]["pooling"] == "measured before"
    assert again["parts"]["collectives"]["seconds"] > 0


@pytest.mark.slow
def test_waits_are_of_every_layer():
    rows = waits(torch.device("cpu"), quick=True)
    assert all(row["eager_ms"] > 0 for row in rows)
