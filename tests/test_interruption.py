"""Ctrl-C and SIGTERM: a usable checkpoint, a sentence that says how to go on, and the exit code shells expect."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_modules.run.interruption import Interrupted
from lightning_modules.run.job import InterruptedRunError, job
from tests.conftest import ROOT
from tests.small import SMALL

ENDLESS = [argument for argument in SMALL if "max_epochs" not in argument] + ["trainer.max_epochs=100000"]


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_can_go_on(cli, tmp_path, sent, code):
    command = [sys.executable, str(ROOT / "run.py"), *ENDLESS, "hydra.run.dir=run"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        wait_for(tmp_path / "run/checkpoints/last.ckpt", process)
        process.send_signal(sent)
        assert process.wait(timeout=60) == code
    text = (tmp_path / "log").read_text()
    assert "go on with: python run.py ckpt_path=last hydra.run.dir=" in text
    assert "Traceback" not in text
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert "interrupted in epoch" in summary["error"]
    assert summary["epochs"] >= 1
    outcome = cli("ckpt_path=last", "hydra.run.dir=run", f"trainer.max_epochs={summary['epochs'] + 2}")
    assert outcome.code == 0, outcome.err
    resumed = json.loads((tmp_path / "run/summary.json").read_text())
    assert (resumed["status"], resumed["epochs"]) == ("ok", summary["epochs"] + 2)


@pytest.mark.slow
def test_a_finished_run_that_is_resumed_keeps_its_accuracy(cli, tmp_path, summary_of):
    run = (*SMALL, "callbacks.monitor=val/loss", "hydra.run.dir=run")
    assert cli(*run, "trainer.max_epochs=2").code == 0
    before = summary_of(tmp_path / "run")
    assert before["val/acc1"] is not None
    outcome = cli("ckpt_path=last", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    same = [name for name in before if "acc" in name or "epoch" in name]
    assert {name: summary_of(tmp_path / "run")[name] for name in same} == {name: before[name] for name in same}
    (tmp_path / "run").rename(tmp_path / "moved")  # and takes its best with it, also to a directory of another run
    for arguments in (["ckpt_path=last", "hydra.run.dir=moved"], ["ckpt_path=moved", "hydra.run.dir=other"]):
        outcome = cli(*arguments)
        assert outcome.code == 0, outcome.err
        directory = tmp_path / arguments[1].partition("=")[2]
        assert {name: summary_of(directory)[name] for name in same} == {name: before[name] for name in same}
        assert (directory / "checkpoints/best.ckpt").exists()


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if path.exists():
            time.sleep(0.3)  # into the next epoch
            return
        assert process.poll() is None, "the run ended before its first checkpoint"
        time.sleep(0.1)
    raise AssertionError("no checkpoint after 60 s")


def test_what_fails_on_the_way_out_is_an_interruption_all_the_same(tmp_path, summary_of):
    """As Lightning does, which takes its loops down a second time if a signal comes while it does so."""

    (tmp_path / "run").mkdir()

    def work():
        known = {"mode": "fit", "method": "pade", "backbone": "tiny", "dataset": "digits", "seed": 0}
        with job(tmp_path / "run", **known) as summary:
            summary.begin()
            try:
                raise Interrupted(signal.SIGINT)
            finally:
                raise RuntimeError("the loop has been taken down")

    with pytest.raises(InterruptedRunError, match="interrupted, before there was a checkpoint") as stopped:
        work()
    assert stopped.value.exit_code == 130
    assert summary_of(tmp_path / "run")["status"] == "interrupted"
    assert not (tmp_path / "run" / "error.txt").exists()
