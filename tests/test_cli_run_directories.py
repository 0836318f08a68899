"""Run directories: what holds a run is kept, what is refused leaves nothing, and one process at a time is in one."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from lightning_modules.run.lock import holder, locked
from tests.conftest import ROOT
from tests.small import SMALL


def contents(directory: Path) -> dict[str, str]:
    """Everything in a directory, by name."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def test_a_run_is_not_overwritten(cli, tmp_path):
    assert cli(*SMALL, "hydra.run.dir=done").code == 0
    assert cli("mode=report", "path=done", "hydra.run.dir=report").out.startswith("run directory ")
    assert cli("mode=report", "path=done", "hydra.run.dir=report").code == 0  # over the earlier report
    (tmp_path / "copy").symlink_to("done")
    before = contents(tmp_path)
    for arguments, message in (
        ((), "done holds a run (fit, pade, digits, seed 0, ok); go on with it by ckpt_path=last, or give another"),
        (("seed=3", "method=newton"), "go on with it by ckpt_path=last, or give another hydra.run.dir"),
        (("ckpt_path=nothere",), "no checkpoint at nothere"),
        (("ckpt_path=last", "trainer.max_epochs=0"), "trainer.max_epochs must be at least 1"),
        (("ckpt_path=last", "method=newton"), "method.name=newton (checkpoint: pade)"),
        (("ckpt_path=last", "data.image_size=4"), "data.image_size must be at least 8"),
        (("ckpt_path=last", "trainer.strategy=ddpp"), "the trainer refuses its options"),
        (("mode=analyze",), "done holds a run"),
        (("mode=report", "path=done"), "give another hydra.run.dir, or remove it"),
    ):
        outcome = cli(*arguments, "hydra.run.dir=done")
        assert outcome.code == 1, arguments
        assert message in outcome.err
        assert contents(tmp_path) == before, arguments
    outcome = cli("mode=test", "ckpt_path=done", "hydra.run.dir=report")
    assert "report holds a run" in outcome.err
    assert "which ckpt_path=done/checkpoints/best.ckpt is not of" in outcome.err
    assert contents(tmp_path) == before
    assert cli("ckpt_path=copy", "trainer.max_epochs=2", "hydra.run.dir=done").code == 0
    asked = (tmp_path / "done/.hydra/overrides.yaml").read_text()
    assert "backbone.width=8" in asked  # still what the run was asked for
    assert ".lock" not in contents(tmp_path / "done")


@pytest.mark.parametrize(
    "arguments",
    [
        ("method=pad",),
        ("optimizer.lr=-1",),
        ("mode=test", "ckpt_path=gone"),
        ("ckpt_path=last",),
        ("dataset=cub", "data.root=nowhere"),
        ("backbone=alexnet", "backbone.hidden=[]", "data.image_size=16"),
        ("trainer.strategy=ddpp",),
        ("mode=report", "path=nowhere"),
        ("callbacks.monitor=val/acc",),
        ("hydra.run.dir=a/b/c", "method=topn", "method.n=100"),
        ("-m", "method=pade", "hydra.sweep.dir=a/b", "hydra.sweep.subdir=same", "seed=0,1"),
    ],
)
def test_a_refused_command_leaves_nothing(cli, tmp_path, arguments):
    outcome = cli(*arguments)
    assert outcome.code == 1
    assert outcome.err.count("error: ") == 1
    assert "run directory" not in outcome.out  # which there is not
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_before_stays(cli, tmp_path):
    (tmp_path / "mine/empty").mkdir(parents=True)
    (tmp_path / "mine/notes").write_text("mine")
    assert cli("optimizer.lr=-1", "hydra.run.dir=mine/empty").code == 1
    assert cli("optimizer.lr=-1", "hydra.run.dir=mine").code == 1
    assert cli("optimizer.lr=-1", "hydra.run.dir=mine/empty/a/b").code == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "mine", "notes"]


HOLD = (
    "import sys, time; from pathlib import Path; from lightning_modules.run.lock import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)\n"
)


@contextmanager
def held(directory, code=HOLD):
    """Another process is in the directory, for the time of the block."""
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-c", code, str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_directory_in_use_is_left_alone(cli, tmp_path):
    directory = tmp_path / "held"
    with held(directory) as process:
        before = contents(directory)
        for arguments in ((*SMALL, "hydra.run.dir=held"), ("-m", "seed=0,1", *SMALL, "hydra.sweep.dir=held")):
            outcome = cli(*arguments)
            assert outcome.code == 1
            assert f"held is in use by process {process.pid} on " in outcome.err
            assert contents(directory) == before
        assert str(process.pid) in holder(directory)
    assert (directory / ".lock").exists()
    assert holder(directory) is None
    assert cli(*SMALL, "hydra.run.dir=held").code == 0  # the lock of a dead process is taken over
    assert not (directory / ".lock").exists()


@pytest.mark.slow
def test_a_job_of_a_sweep_that_another_process_is_at(cli, tmp_path):
    sweep = ("-m", "seed=0,1", *SMALL, "hydra.sweep.dir=sweep")
    assert cli(*sweep).code == 0
    first = tmp_path / "sweep/0-pade-tiny-digits-s0"
    (first / "summary.json").write_text((first / "summary.json").read_text().replace('"ok"', '"running"'))
    before = contents(first)
    with held(first) as process:
        outcome = cli(*sweep, "sweep.resume=true")
    assert outcome.code == 1
    assert f"failed: 0-pade-tiny-digits-s0: process {process.pid} on " in outcome.err
    (first / ".lock").unlink()
    assert contents(first) == before
    assert cli(*sweep, "sweep.resume=true").code == 0


def leave(directory):
    """Lock, check, and fail."""
    with locked(directory):
        assert str(os.getpid()) in (directory / ".lock").read_text()
        raise ValueError("on purpose")


def test_the_lock_ends_with_the_block_and_forked_processes_do_not_hold_it(tmp_path):
    with pytest.raises(ValueError, match="on purpose"):
        leave(tmp_path)
    assert list(tmp_path.iterdir()) == []
    forks = HOLD.replace("print", "import os; child = os.fork() or time.sleep(60); print").replace(
        "time.sleep(600)", ""
    )
    forks = forks.replace("print('held', flush=True)", "print('held', child, flush=True); os._exit(0)")
    command = [sys.executable, "-c", forks, str(tmp_path)]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline().split()[1])
    parent.wait()
    parent.stdout.close()
    try:
        with locked(tmp_path):
            os.kill(child, 0)  # it is there
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_jobs_of_joblib_end_with_the_sweep(tmp_path):
    """SIGKILL of the main process alone; the same command goes on at once."""
    long = [argument for argument in SMALL if "max_epochs" not in argument] + ["trainer.max_epochs=150"]
    sweep = ["-m", "seed=0,1", "launcher=joblib", "hydra.launcher.n_jobs=2", "threads=1", *long]
    command = [sys.executable, str(ROOT / "run.py"), *sweep, "hydra.sweep.dir=sweep"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=tmp_path, **quiet)
    jobs = [tmp_path / f"sweep/{number}-pade-tiny-digits-s{number}" for number in (0, 1)]
    while not all((job / "checkpoints/last.ckpt").exists() for job in jobs):
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    states = [json.loads((job / "summary.json").read_text())["status"] for job in jobs]
    assert states == ["running", "running"]
    again = subprocess.Popen([*command, "sweep.resume=true"], cwd=tmp_path, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)  # fmt: skip
    time.sleep(0.9)  # it is still importing
    assert [holder(job) for job in jobs] == [None, None]
    text, _ = again.communicate(timeout=300)
    assert again.returncode == 0, text
    assert [path.name for path in sorted((tmp_path / "sweep").glob("*-*"))] == [job.name for job in jobs]
    for job in jobs:
        summary = json.loads((job / "summary.json").read_text())
        assert (summary["status"], summary["epochs"]) == ("ok", 150)
