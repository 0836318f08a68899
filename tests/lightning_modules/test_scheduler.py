"""What a process of a scheduler's job knows of it, from its environment; tests/test_slurm.py has a real Slurm."""

from __future__ import annotations

import os
import signal

import pytest

from gcp.errors import OptionError, SweepFailedError
from lightning_modules.run import scheduler
from lightning_modules.run.directory import START, shared_start
from lightning_modules.run.ranks import check_tasks, global_rank, slurm_tasks, started_elsewhere, under_slurm
from lightning_modules.run.scheduler import announcements, job_id, queue_again, restarted
from lightning_modules.run.summary import Summary, read_summary
from lightning_modules.run.sweep import Job, JobsEndedError, check_all_ok, launch

# As a real Slurm sets them.
ALLOCATED = {"SLURM_JOB_ID": "12", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "mine"}
SCRIPT = {**ALLOCATED, "SLURM_PROCID": "0"}
TASK = {**ALLOCATED, "SLURM_PROCID": "1", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
ALONE = {**TASK, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}
SHELL = {**ALONE, "SLURM_JOB_NAME": "bash"}


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Call it with variables, and what ``scontrol show job`` says; ``tmp_path/called`` has the other calls."""

    monkeypatch.setattr(scheduler, "QUEUED", [])

    def put(variables, told=""):
        (tmp_path / "bin").mkdir(exist_ok=True)
        program = tmp_path / "bin/scontrol"
        program.write_text(f'#!/bin/sh\ncase $1 in show) echo "{told}";; *) echo "$@" >> {tmp_path}/called;; esac\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    ("variables", "tasks", "rank", "scheduled", "place"),
    [
        ({}, 1, 0, False, None),
        (ALLOCATED, 1, 0, False, None),
        (SHELL, 1, 0, False, None),
        (SCRIPT, 1, 0, True, "slurm-12"),
        (ALONE, 1, 0, True, "slurm-12"),
        (TASK, 2, 1, True, "slurm-12"),
        ({**TASK, "SLURM_JOB_NAME": "bash"}, 2, 1, True, "slurm-12"),
        ({**ALONE, "SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3"}, 1, 0, True, "slurm-9_3"),
    ],
)
def test_where_a_process_is(monkeypatch, environment, variables, tasks, rank, scheduled, place):
    environment(variables)
    assert (slurm_tasks(), global_rank(), under_slurm()) == (tasks, rank, scheduled)
    assert started_elsewhere() == (tasks > 1)
    assert bool(announcements()) == scheduled
    with shared_start():
        assert os.environ.get(START) == place


def test_a_number_of_tasks_that_is_not_that_of_the_run(environment):
    environment(TASK)
    check_tasks(2, 1, "trainer.devices=2")
    check_tasks(1, 2, "trainer.num_nodes=2")
    with pytest.raises(OptionError, match=r"srun started 2 processes, and the run is one of 1 \(mode=report\)"):
        check_tasks(1, 1, "mode=report")


RUNS = "JobState=RUNNING Reason=None PreemptTime=None"
MAKES_ROOM = "JobState=RUNNING Reason=None PreemptTime=2026-11-30T14:45:05"


@pytest.mark.parametrize(
    ("told", "signum", "queued"),
    [
        (RUNS, signal.SIGUSR1, True),
        (RUNS, signal.SIGUSR2, True),
        (RUNS, signal.SIGTERM, False),
        (MAKES_ROOM, signal.SIGTERM, True),
        (MAKES_ROOM, signal.SIGINT, False),
        ("JobState=CANCELLED PreemptTime=None", signal.SIGTERM, False),
        ("JobState=TIMEOUT PreemptTime=None", signal.SIGUSR1, False),
        ("JobState=PENDING", signal.SIGUSR1, False),
        ("", signal.SIGUSR1, False),
    ],
)
def test_a_job_is_queued_again_if_it_was_to_end_before_its_work(environment, tmp_path, told, signum, queued):
    environment(SCRIPT, told)
    queue_again(signum)
    assert (tmp_path / "called").exists() == queued
    if queued:
        assert (tmp_path / "called").read_text() == "requeue 12\n"


def test_outside_of_a_job_nothing_is_queued(environment, tmp_path):
    environment(ALLOCATED, RUNS)
    queue_again(signal.SIGUSR1)
    assert not (tmp_path / "called").exists()


def test_a_directory_is_gone_on_with_by_the_job_that_began_it_only(environment, tmp_path):
    environment(SCRIPT)
    Summary(tmp_path / "run", mode="fit").begin()
    assert read_summary(tmp_path / "run")["scheduler_job"] == job_id() == "12"
    assert not restarted()
    assert not Summary(tmp_path / "run").again
    environment({"SLURM_RESTART_COUNT": "1"})
    assert Summary(tmp_path / "run").again
    assert not Summary(tmp_path / "other").again
    environment({"SLURM_JOB_ID": "13"})
    assert not Summary(tmp_path / "run").again


def test_jobs_that_a_queue_has_ended_are_not_started_again(tmp_path, capsys):
    started = []

    def start(arguments):
        started.append(len(arguments))
        Summary(tmp_path / "at-work", mode="fit").begin()
        Summary(tmp_path / "good", mode="fit").ok()
        raise JobsEndedError({0: "Slurm ended job 5_0 (TIMEOUT)", 2: "Slurm ended job 5_2 (CANCELLED)"})

    jobs = [Job([], "at-work"), Job([], "good"), Job([], "waiting")]
    launch(jobs, tmp_path, start)
    assert started == [3]
    found = read_summary(tmp_path / "at-work")
    assert (found["status"], found["error"]) == ("failed", "Slurm ended job 5_0 (TIMEOUT)")
    assert not read_summary(tmp_path / "waiting")
    with pytest.raises(SweepFailedError, match=r"2 of 3 jobs failed, .*sweep\.resume=true does what is missing"):
        check_all_ok(jobs, tmp_path)
    assert "failed: waiting: Slurm ended job 5_2 (CANCELLED)" in capsys.readouterr().err
