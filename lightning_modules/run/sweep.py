"""The jobs of a sweep: their directories, which of them are left to do, and what became of each. Free of torch."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf

from gcp.errors import GCPError, SweepFailedError, first_line
from lightning_modules.run.directory import TakenError
from lightning_modules.run.find_checkpoint import to_resume
from lightning_modules.run.interruption import Interrupted
from lightning_modules.run.lock import holder
from lightning_modules.run.summary import ASKED, OK, RUNNING, Summary, holds_run, read_summary

SPECIAL = re.compile(r"[^\w.=+-]+")  # not in names of directories
IN_NAME = ("method", "backbone", "dataset", "seed")  # arguments whose values are in the name of every job
LONGEST = 150  # characters of a job's name
# Arguments by which a job stays the same job when the sweep is repeated with others.
ASIDE = ("sweep.", "trainer.devices=", "callbacks.progress_bar=")


@dataclass
class Job:
    """One job of a sweep.

    Attributes:
        overrides: the arguments it was asked for with.
        name: its directory within the sweep's; empty until it has one.
        ckpt: the checkpoint an earlier attempt left, to go on from.
        varied: the arguments in which it differs from other jobs, beside those its name has anyway.
        reason: why it ended before it could say so itself.
    """

    overrides: list[str]
    name: str = ""
    ckpt: Path | None = None
    varied: list[str] = field(default_factory=list)
    reason: str | None = None

    @property
    def suffix(self) -> str:
        """What tells its directory from those of other jobs."""
        return "".join("-" + SPECIAL.sub("_", each.lstrip("+~")) for each in self.varied)

    @property
    def arguments(self) -> list[str]:
        """The arguments it is started with."""
        resumed = [] if self.ckpt is None else [f"ckpt_path='{self.ckpt}'"]
        return [*self.overrides, *resumed, f"hydra.sweep.subdir='{self.name}'"]


def jobs_of(combinations: Sequence[Sequence[str]]) -> list[Job]:
    """A job for each combination of arguments."""
    jobs = [Job(list(each)) for each in combinations]
    common = in_all(jobs)
    for job in jobs:
        job.varied = [each for each in job.overrides if each not in common and each.split("=")[0] not in IN_NAME]
    return jobs


def in_all(jobs: Sequence[Job]) -> set[str]:
    """The arguments that all ``jobs`` have."""
    return set.intersection(*(set(job.overrides) for job in jobs)) if jobs else set()


def left_to_do(jobs: list[Job], directory: Path, resume: bool, named: Callable[[Job, int], str]) -> list[Job]:
    """The jobs to launch, each with its directory; without those that are finished and those at work.

    Args:
        jobs: all jobs of the sweep.
        directory: the sweep's, which exists.
        resume: whether jobs of an earlier attempt in it count.
        named: gives a new job its name, from its number.

    Raises:
        TakenError: a job's directory holds another run, or two jobs would have the same.
    """
    folders = [file.parent.parent for file in directory.glob(f"*/{ASKED}")] if resume else []
    earlier = {_identity(_asked(folder)): folder.name for folder in folders}
    number = 1 + max((_number(path) for path in directory.iterdir()), default=-1)
    pending: list[Job] = []
    for job in jobs:
        found = earlier.get(_identity(job.overrides))
        if found is not None:
            job.name = found
            if read_summary(directory / found).get("status") == OK or holder(directory / found) is not None:
                continue
            job.ckpt = to_resume(directory / found)
        else:
            job.name = named(job, number)[:LONGEST]
            number += 1
            if holds_run(directory / job.name) or job.name in (other.name for other in pending):
                raise TakenError(
                    f"{directory / job.name} is the directory of more than one job; let hydra.sweep.subdir tell "
                    "jobs apart, as it does by default, or give another hydra.sweep.dir"
                )
        pending.append(job)
    return pending


class JobsEndedError(GCPError, RuntimeError):
    """A launcher's jobs that did not come to their own end, or say why they refused; all others have ended well.

    Attributes:
        reasons: why, by the position of the job among those that were started.
    """

    def __init__(self, reasons: dict[int, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = reasons


def launch(jobs: list[Job], directory: Path, start: Callable[[list[list[str]]], object]) -> None:
    """Start jobs until each has ended.

    A job whose process died is marked as failed, or as interrupted if the sweep was. Jobs that were waiting for that
    process are started again.

    Args:
        jobs: with names.
        directory: the sweep's.
        start: takes the arguments of each job; returns, or raises, when none is at work or waits any more. Jobs that
            it names in a JobsEndedError are not started again.

    Raises:
        SweepFailedError: no job could be started.
    """
    while jobs:
        before = len(jobs)
        try:
            start([job.arguments for job in jobs])
        except (Interrupted, SystemExit):
            for summary in _left_running(jobs, directory):  # joblib ends the processes of jobs that are at work
                summary.interrupted("interrupted with the sweep; goes on when that is resumed")
            raise
        except JobsEndedError as error:
            reason = str(error)
            for position, told in error.reasons.items():
                jobs[position].reason = told
                if read_summary(directory / jobs[position].name).get("status") == RUNNING:
                    Summary(directory / jobs[position].name).failed(told)
        except Exception as error:  # of the launcher: a process that was killed, a queue that refuses
            reason = first_line(error)
        else:
            reason = "the process of the job ended without a word"
        for summary in _left_running(jobs, directory):
            summary.failed(f"killed: {reason}")
        jobs = [job for job in jobs if job.reason is None and not read_summary(directory / job.name)]
        if len(jobs) == before:
            raise SweepFailedError(f"no job could be started: {reason}")


def _left_running(jobs: list[Job], directory: Path) -> list[Summary]:
    """Those of jobs that say they run, and whose process is gone."""
    places = [directory / job.name for job in jobs]
    return [
        Summary(place) for place in places if read_summary(place).get("status") == RUNNING and holder(place) is None
    ]


def check_all_ok(jobs: list[Job], directory: Path) -> None:
    """Name each job that has failed, with its reason. Raises SweepFailedError if there is one."""
    failures = {job.name: reason for job in jobs if (reason := _failure(job, directory / job.name)) is not None}
    for name, reason in failures.items():
        print(f"failed: {name}: {reason.splitlines()[0]}", file=sys.stderr)
    if failures:
        raise SweepFailedError(
            f"{len(failures)} of {len(jobs)} jobs failed, see above and {directory}; the same command with "
            f"hydra.sweep.dir={directory} and sweep.resume=true does what is missing"
        )


def sweep_name(directory: str | Path) -> str:
    """The sweep in ``directory`` as loggers name it: DATE/TIME, or what the user chose."""
    return "/".join(Path(directory).parts[-2:])


def _asked(directory: Path) -> list[str]:
    """The arguments of a job of an earlier attempt, without the checkpoint of its own that it went on from."""
    file = directory / ASKED
    overrides = [str(override) for override in OmegaConf.load(file)] if file.exists() else []
    return [
        each for each in overrides if not (each.startswith("ckpt_path=") and directory.name in Path(each).parts[:-1])
    ]


def _identity(overrides: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(each for each in overrides if not each.startswith(ASIDE)))


def _number(path: Path) -> int:
    head = path.name.partition("-")[0]
    return int(head) if path.is_dir() and head.isdigit() else -1


def _failure(job: Job, directory: Path) -> str | None:
    summary, process = read_summary(directory), holder(directory)
    if process is not None:
        return f"{process} is still at it"
    return None if summary.get("status") == OK else str(summary.get("error") or job.reason or "it was not started")
