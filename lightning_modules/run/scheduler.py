"""The scheduler's job that this process is part of: its number, how its end is announced, how it is queued again.

The scheduler is Slurm, or submitit's stand-in for it on this machine (``launcher=submitit_local``). Free of torch.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Collection
from typing import Any

from datamodules.signals import ANNOUNCING
from lightning_modules.run.ranks import under_slurm

STATE = re.compile(r"\bJobState=(\w+)")
QUEUED: list[str] = []
"""The job, once this process has queued it again."""
LOCAL = "SUBMITIT_LOCAL_JOB_ID"
PREEMPTED = re.compile(r"\bPreemptTime=\d")  # in what ``scontrol show job`` says; None, or absent, if it is not


def job_id() -> str | None:
    """The number of the job, ARRAY_TASK in an array; None: this is none."""
    if not under_slurm():
        return os.environ.get(LOCAL)
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return os.environ["SLURM_JOB_ID"] if array is None else f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"


def restarted() -> bool:
    """Whether this job may have run before; under submitit's stand-in nothing tells."""
    return int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0 if under_slurm() else LOCAL in os.environ


def announcements() -> tuple[int, ...]:
    """The signals that announce the end of the job: ``--signal=USR1@120``, and submitit's own, USR2."""
    if job_id() is None:
        return ()
    return tuple(int(getattr(signal, each)) for each in ANNOUNCING if hasattr(signal, each))


def queue_again(signum: int) -> None:
    """Queue the job again if ``signum`` says that it ends before its work: an announcement, or a preemption.

    What should be found by the next time has been written: Slurm ends this process. Where submitit takes the signal,
    it is its to decide (``hydra.launcher.max_num_timeout``). Nothing is done for a job that was cancelled, that is out
    of time, or that Slurm queues by itself.
    """
    announced = signum in announcements()
    handler: Any = signal.getsignal(signum)
    if announced and "SUBMITIT_EXECUTOR" in os.environ and callable(handler):
        _leave_to_submitit(signum, handler)
    elif under_slurm():
        job = str(job_id())
        told = _scontrol("show", "job", job)
        if "JobState=RUNNING" in told and (announced or (signum == signal.SIGTERM and PREEMPTED.search(told))):
            QUEUED.append(job)
            print(f"job {job} is queued again", file=sys.stderr, flush=True)
            _scontrol("requeue", job)


def _leave_to_submitit(signum: int, handler: Callable[[int, Any], object]) -> None:
    try:
        handler(signum, None)  # ends this process if it has queued the job again
    except RuntimeError as error:
        print(f"{str(error).strip()} (hydra.launcher.max_num_timeout)", file=sys.stderr)


def _scontrol(*arguments: str) -> str:
    """What it says; what it complains of is shown."""
    try:
        done = subprocess.run(["scontrol", *arguments], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"scontrol {' '.join(arguments)}: {error}", file=sys.stderr)
        return ""
    return done.stdout


def still_queued(jobs: Collection[str]) -> dict[str, str] | None:
    """Those of ``jobs`` that wait or run in Slurm, with what Slurm says they wait for; None: it does not answer.

    Jobs are numbers, ARRAY_TASK in an array.
    """
    if not jobs:
        return {}
    command = ["squeue", "--noheader", "--array", "--format=%i %r", f"--jobs={','.join(jobs)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return {} if "Invalid job id" in done.stderr else None
    found = (line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())
    return {name: reason[0].strip() if reason else "" for name, *reason in found if name in jobs}


def state_of(job: str) -> str | None:
    """What Slurm calls the state of a job: CANCELLED, TIMEOUT, ...; None: it does not know it any more."""
    found = STATE.search(_scontrol("show", "job", job))
    return None if found is None else found.group(1)
