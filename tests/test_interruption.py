"""Ctrl-C and SIGTERM: a usable checkpoint, a sentence that says how to go on, and the exit code shells expect."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if path.exists():
            time.sleep(0.3)  # into the next epoch
            return
        assert process.poll() is None, "the run ended before its first checkpoint"
        time.sleep(0.1)
    raise AssertionError("no checkpoint after 60 s")
