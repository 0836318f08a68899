"""Hydra's launchers of submitit, which hand jobs to Slurm: told what becomes of each, and when the sweep is stopped.

Imported only where the package hydra-submitit-launcher is installed.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any, cast

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
from omegaconf import DictConfig

from gcp.errors import MissingDependencyError, OptionError
from lightning_modules.run.scheduler import state_of, still_queued
from lightning_modules.run.sweep import JobsEndedError

LOOK = 10.0  # seconds between two questions to Slurm about the queue; it may be busy
PATIENCE = 60.0  # seconds that cancelled jobs have to write their checkpoints; Slurm kills them after 30 by default
COMMANDS = ("sbatch", "srun", "squeue", "scontrol", "scancel")
NUMBER = re.compile(r"\d+(_\d+)?")  # of a job, and in an array its task
# What Slurm's jobs wait for in the course of things; anything else may be for ever, and is told.
ORDINARY = ("None", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime", "Cleaning", "")


class QueueLauncher(BaseSubmititLauncher):  # type: ignore[misc]  # untyped
    """Submits the jobs and waits for all of them, also when one fails, which submitit's own takes for the end of all.

    Attributes:
        params: the options ``hydra.launcher``.
    """

    _EXECUTOR: str
    params: dict[str, Any]
    config: DictConfig

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra. Raises OptionError, or MissingDependencyError, for what cannot be here."""
        self.check()
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs to their ends.

        Raises:
            JobsEndedError: jobs that ended before they could say why.
            OptionError: they were refused, or some are in the queue from an earlier attempt.
        """
        self.check_queue()
        place = f"hydra.sweep.dir='{Path(self.config.hydra.sweep.dir).absolute()}'"  # the same from everywhere
        calls = [
            ([*overrides, place], "hydra.sweep.dir", number, f"job_id_for_{number}", Singleton.get_state())
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        jobs = self._submit(calls)
        try:
            self._wait(jobs)
        except BaseException:  # the sweep is stopped
            self.cancel(jobs)
            raise
        reasons = {position: reason for position, job in enumerate(jobs) if (reason := self._reason(job)) is not None}
        if reasons:
            raise JobsEndedError(reasons)
        return []

    @abstractmethod
    def check(self) -> None:
        """Raise OptionError or MissingDependencyError if this launcher cannot be used here, or not so."""

    def check_queue(self) -> None:
        """Raise OptionError if jobs of an earlier attempt are still to run."""

    @abstractmethod
    def waited_for(self, jobs: list[Any]) -> list[Any]:
        """Those of ``jobs`` that have not ended."""

    @abstractmethod
    def cancel(self, jobs: list[Any]) -> None:
        """End ``jobs``, and wait for that."""

    @abstractmethod
    def killed(self, job: Any) -> str:
        """Why a job ended that left no result."""

    def _submit(self, calls: list[tuple[Any, ...]]) -> list[Any]:
        import submitit

        own = {"submitit_folder", "max_num_timeout"}
        shared = set(BaseQueueConf.__dataclass_fields__)
        options = {
            name if name in shared else f"{self._EXECUTOR}_{name}": value
            for name, value in self.params.items()
            if name not in own
        }
        limits = {f"{self._EXECUTOR}_{name}": self.params[name] for name in ("max_num_timeout",) if name in self.params}
        try:
            with redirect_stderr(io.StringIO()), _path_handed_on():  # what sbatch says is told once
                executor = submitit.AutoExecutor(self.params["submitit_folder"], cluster=self._EXECUTOR, **limits)
                executor.update_parameters(**options)
                jobs: list[Any] = executor.map_array(cast(Any, self), *zip(*calls, strict=True))
        except submitit.core.utils.UncompletedJobError as error:
            lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).splitlines()]
            raise OptionError(f"sbatch refuses: {'; '.join(filter(None, lines))}; see hydra.launcher.*") from error
        except (ValueError, TypeError) as error:
            raise OptionError(f"submitit refuses hydra.launcher.*: {' '.join(str(error).split())}") from error
        print(f"queued: {len(jobs)} jobs, the first is {jobs[0].job_id}; output in {jobs[0].paths.folder}", flush=True)
        return jobs

    def _wait(self, jobs: list[Any]) -> None:
        asked = time.monotonic()
        while remaining := [job for job in jobs if not _has_results(job)]:
            time.sleep(1.0)
            if time.monotonic() - asked > LOOK:
                if not self.waited_for(remaining):
                    return
                asked = time.monotonic()

    def _reason(self, job: Any) -> str | None:
        """Why a job did not end by itself, or why it was refused; None: it did its work."""
        from submitit.core.utils import pickle_load

        if not job.task(0).paths.result_pickle.exists():
            return self.killed(job)
        outcome, result = pickle_load(job.task(0).paths.result_pickle)
        if outcome == "error":
            return f"{str(result).strip().splitlines()[-1]}; its output is in {job.task(0).paths.stderr}"
        return str(result._return_value) if result.status == JobStatus.FAILED else None


class SlurmLauncher(QueueLauncher):
    """``launcher=slurm``: the jobs are an array of Slurm's."""

    _EXECUTOR = "slurm"

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self._told = set(ORDINARY)

    def check(self) -> None:
        """Raise MissingDependencyError without Slurm."""
        missing = [name for name in COMMANDS if shutil.which(name) is None]
        if missing:
            raise MissingDependencyError(
                f"launcher=slurm needs the commands of Slurm, and there is no {missing[0]} here; start the sweep on a "
                "machine of the cluster, or use launcher=submitit_local or joblib"
            )

    def check_queue(self) -> None:
        """Raise OptionError if jobs of an earlier attempt are still to run."""
        from submitit.core.utils import JobPaths

        folder = JobPaths.get_first_id_independent_folder(self.params["submitit_folder"])
        queued = still_queued([path.name for path in folder.glob("*") if NUMBER.fullmatch(path.name)])
        if queued:
            raise OptionError(
                f"jobs of this sweep are in Slurm's queue already ({', '.join(sorted(queued))}); wait for their end, "
                "or cancel them with scancel"
            )

    def waited_for(self, jobs: list[Any]) -> list[Any]:
        """Those in the queue; all if Slurm does not answer."""
        queued = still_queued([job.job_id for job in jobs])
        if queued is None:
            return jobs
        for reason in set(queued.values()) - self._told:
            self._told.add(reason)
            print(f"jobs wait in Slurm's queue: {reason}", file=sys.stderr, flush=True)
        return [job for job in jobs if job.job_id in queued]

    def cancel(self, jobs: list[Any]) -> None:
        """End them; those at work write a checkpoint first."""
        subprocess.run(["scancel", *(job.job_id for job in jobs)], check=False, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while self.waited_for(jobs) and time.monotonic() < deadline:
            time.sleep(1.0)

    def killed(self, job: Any) -> str:
        """What Slurm says of the end."""
        state, output = state_of(job.job_id), job.task(0).paths.stderr
        if state in (None, "CANCELLED") and not output.exists():
            return f"job {job.job_id} was cancelled in Slurm's queue, before it began"
        return f"Slurm ended job {job.job_id} ({state or 'it does not know it any more'}); its output is in {output}"


class LocalLauncher(QueueLauncher):
    """``launcher=submitit_local``: the jobs are processes of this machine."""

    _EXECUTOR = "local"

    def check(self) -> None:
        """Raise OptionError for several tasks, which nothing here tells that they are one run."""
        if self.params.get("tasks_per_node", 1) > 1:
            raise OptionError(
                "hydra.launcher.tasks_per_node is for launcher=slurm; here a run starts its processes itself: leave it "
                "out and give trainer=ddp, or ddp_cpu, with trainer.devices"
            )

    def waited_for(self, jobs: list[Any]) -> list[Any]:
        """Those whose process is there."""
        return [job for job in jobs if not job.done()]

    def cancel(self, jobs: list[Any]) -> None:
        """End their processes."""
        for job in self.waited_for(jobs):
            job.cancel()
        deadline = time.monotonic() + PATIENCE
        while self.waited_for(jobs) and time.monotonic() < deadline:
            time.sleep(0.1)

    def killed(self, job: Any) -> str:
        """Where to look."""
        return f"killed: the process of the job ended without a word; its output is in {job.task(0).paths.stderr}"


@contextmanager
def _path_handed_on() -> Iterator[None]:
    """Let the jobs import what this process does, the very same code; sbatch hands the environment on."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _has_results(job: Any) -> bool:
    with suppress(OSError):
        job.paths.folder.touch()  # a network's file system looks again
    return all(job.task(each).paths.result_pickle.exists() for each in range(job.num_tasks))
