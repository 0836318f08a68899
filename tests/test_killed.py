"""SIGKILL, at an epoch's end and inside one: the run goes on as if nothing had happened."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from tests.small import SMALL

LONG = [argument for argument in SMALL if "max_epochs" not in argument and "limit_train" not in argument]
RUN = (*LONG, "trainer.max_epochs=4", "trainer.limit_train_batches=6", "plugins=[tests.fragile]", "dataset=fragile")
EPOCH = 6 * 16  # images


@pytest.fixture
def run(cli):
    """``cli``, with the plugin registered anew in each call."""

    def call(*arguments):
        sys.modules.pop("tests.fragile", None)
        outcome = cli(*arguments)
        assert outcome.code == 0, outcome.err
        return outcome

    return call


def killed(folder, *arguments, at, **variables):
    """A run in a process of its own that dies while it reads its training image number ``at``."""
    environment = {**os.environ, "KILL_AT": str(at), **variables}
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def same(tmp_path, one, other):
    """Equal weights, optimizer state and validation metrics of two runs."""
    first, second = (torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in (one, other))
    assert first["global_step"] == second["global_step"]
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name
    for number, state in first["optimizer_states"][0]["state"].items():
        assert torch.equal(state["momentum_buffer"], second["optimizer_states"][0]["state"][number]["momentum_buffer"])
    rows = [list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in (one, other)]
    metrics = [[(row["step"], row["val/loss"], row["val/acc1"]) for row in each if row["val/loss"]] for each in rows]
    assert metrics[0] == metrics[1]
    assert len(metrics[0]) == 4


# At the end of the second epoch; and in the third one, 1 to 3 batches after its last checkpoint (every 2 steps).
@pytest.mark.slow  # a kill among the cells of test_kill_and_resume.py is not
@pytest.mark.parametrize("at", [2 * EPOCH + 40, 2 * EPOCH + 90])
@pytest.mark.parametrize("steps", [None, 2])
def test_a_killed_run_goes_on_exactly(run, tmp_path, summary_of, at, steps):
    every = [] if steps is None else [f"callbacks.checkpoint_every_n_steps={steps}"]
    run(*RUN, *every, "hydra.run.dir=whole")
    process = killed(tmp_path, *RUN, *every, "hydra.run.dir=parts", at=at)
    assert process.returncode == -9, process.stderr
    left = torch.load(tmp_path / "parts/checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert left == 12 if steps is None else 12 < left < 18
    assert summary_of(tmp_path / "parts")["status"] == "running"
    run("ckpt_path=last", "plugins=[tests.fragile]", "hydra.run.dir=parts")
    same(tmp_path, "whole", "parts")
    results = [summary_of(tmp_path / name) for name in ("whole", "parts")]
    assert results[0]["test/loss"] == results[1]["test/loss"]


@pytest.mark.slow
def test_a_truncated_last_checkpoint_gives_way_to_the_one_before(run, tmp_path):
    often = [*RUN, "callbacks.checkpoint_every_n_steps=5"]
    run(*often, "hydra.run.dir=whole")
    run(*often, "trainer.max_epochs=2", "hydra.run.dir=parts")
    last = tmp_path / "parts/checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    outcome = run("ckpt_path=last", "plugins=[tests.fragile]", "trainer.max_epochs=4", "hydra.run.dir=parts")
    (line,) = [line for line in outcome.err.split("\n") if "going on from" in line]
    assert "last.ckpt is no readable checkpoint" in line
    assert line.endswith("last.previous.ckpt")
    same(tmp_path, "whole", "parts")
