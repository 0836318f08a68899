"""The same sweep through every launcher: in this process, in two others, and through Slurm's on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.small import SMALL

RUN = (sys.executable, str(ROOT / "run.py"))
SWEEP = ("-m", "seed=0,1", "threads=1", *SMALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [("launcher=joblib", "hydra.launcher.n_jobs=2"), ("launcher=submitit_local", "hydra.launcher.timeout_min=5")],
)
def test_a_sweep_gives_the_same_numbers_through_every_launcher(cli, tmp_path, summary_of, launcher):
    assert cli(*SWEEP, "hydra.sweep.dir=here").code == 0
    command = [*RUN, *SWEEP, *launcher, "hydra.sweep.dir=there"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    for name in ("0-pade-tiny-digits-s0", "1-pade-tiny-digits-s1"):
        here, there = summary_of(tmp_path / "here" / name), summary_of(tmp_path / "there" / name)
        assert there["status"] == "ok"
        for metric in ("val/acc1", "test/acc1", "test/loss"):
            assert here[metric] == there[metric]


@pytest.mark.parametrize(
    ("launcher", "package", "extra"),
    [("joblib", "hydra_joblib_launcher", "joblib"), ("slurm", "hydra_submitit_launcher", "slurm")],
)
def test_a_launcher_that_is_not_installed(tmp_path, launcher, package, extra):
    """Hydra finds launchers by their module: here it finds one that cannot be imported."""
    folder = tmp_path / "hydra_plugins"
    folder.mkdir()
    (tmp_path / "missing.py").write_text(
        "import pkgutil, runpy, sys\n"
        "walk = pkgutil.walk_packages\n"
        f"pkgutil.walk_packages = lambda *a, **k: (each for each in walk(*a, **k) if {package!r} not in each.name)\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    command = [sys.executable, str(tmp_path / "missing.py"), str(ROOT / "run.py"), *SWEEP, f"launcher={launcher}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ}, timeout=60)
    assert done.returncode == 1
    assert f"error: launcher={launcher} is not installed; install it with: pip install '.[{extra}]'" in done.stderr


def test_a_machine_without_slurm(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = cli(*SWEEP, "launcher=slurm")
    assert outcome.code == 1
    assert "error: launcher=slurm needs the commands of Slurm, and there is no sbatch here; start the" in outcome.err
    outcome = cli(*SWEEP, "launcher=submitit_local", "hydra.launcher.tasks_per_node=2")
    assert outcome.code == 1
    assert "error: hydra.launcher.tasks_per_node is for launcher=slurm; here a run starts its processes" in outcome.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_job_that_slurm_ends_is_queued_again_and_goes_on(tmp_path, summary_of):
    """Slurm's part is played by its variables, its signal, and an ``scontrol`` that notes how it was called.

    tests/test_slurm.py has a real one, where it is installed.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "scontrol").write_text(
        f'#!/bin/sh\ncase $1 in show) echo JobState=RUNNING;; *) echo "$@" >> {tmp_path}/called;; esac\n'
    )
    (folder / "scontrol").chmod(0o755)
    slurm = {
        "SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "gcp", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NNODES": "1",
        "PATH": f"{folder}:{os.environ['PATH']}",
    }  # fmt: skip
    arguments = [argument for argument in SMALL if "max_epochs" not in argument and "limit_train" not in argument]
    arguments += ["trainer.max_epochs=3", "trainer.limit_train_batches=6", "plugins=[tests.fragile]", "dataset=fragile"]
    whole = subprocess.run([*RUN, *arguments, "hydra.run.dir=whole"], cwd=tmp_path, timeout=300, check=False)
    assert whole.returncode == 0
    signalled = {**os.environ, **slurm, "KILL_AT": str(8 * 16), "KILL_WITH": "SIGUSR1"}
    first = subprocess.run([*RUN, *arguments], cwd=tmp_path, env=signalled, capture_output=True, text=True, timeout=300)
    assert first.returncode == 128 + signal.SIGUSR1, first.stderr
    assert (tmp_path / "called").read_text() == "requeue 4711\n"
    directory = tmp_path / "outputs/slurm-4711"
    assert (directory / "checkpoints/last.ckpt").exists()
    assert "interrupted in epoch 2" in summary_of(directory)["error"]
    again = {**os.environ, **slurm, "SLURM_RESTART_COUNT": "1"}
    second = subprocess.run([*RUN, *arguments], cwd=tmp_path, env=again, capture_output=True, text=True, timeout=300)
    assert second.returncode == 0, second.stderr
    one, other = summary_of(tmp_path / "whole"), summary_of(directory)
    assert (other["status"], other["epochs"]) == ("ok", 3)
    for metric in ("val/acc1", "test/acc1", "test/loss"):
        assert one[metric] == other[metric]
