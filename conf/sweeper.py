"""The sweeper: every combination of values, whatever becomes of the single jobs, and a report at the end."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from conf.messages import sentence
from conf.options import check
from gcp.errors import GCPError, OptionError, SweepFailedError
from gcp.options import make_options
from lightning_modules.run.directory import TakenError
from lightning_modules.run.find_checkpoint import to_resume
from lightning_modules.run.lock import holder, locked
from lightning_modules.run.parent import SWEEP
from lightning_modules.run.summary import ASKED, OK, RUNNING, Summary, holds_run, read_summary
from lightning_modules.settings.loggers import WandbOptions

SPECIAL = re.compile(r"[^\w.=+-]+")  # not in names of directories
IN_NAME = ("method", "backbone", "dataset", "seed")  # arguments whose values are in the name of every job
LONGEST = 150  # characters of a job's name
SHOWN = 5  # wrong jobs whose reasons are told
NEUTRAL = ("sweep.", "ckpt_path=", "trainer.devices=", "callbacks.progress_bar=")  # change nothing of what a job is


@dataclass
class Job:
    """One job of a sweep.

    Attributes:
        overrides: the arguments it was asked for with.
        name: its directory within the sweep's; empty until it has one.
        ckpt: the checkpoint an earlier attempt left, to go on from.
        varied: the arguments in which it differs from other jobs, beside those its name has anyway.
        config: its composed configuration, Hydra's part too.
    """

    overrides: list[str]
    name: str = ""
    ckpt: Path | None = None
    varied: list[str] = field(default_factory=list)
    config: DictConfig = field(default_factory=lambda: DictConfig({}))


class ResumableSweeper(Sweeper):
    """Hydra's basic sweeper, but for failures and repetition.

    A job that fails, or dies with its process, is marked in its ``summary.json`` and the others go
    on; the sweep as a whole fails at the end. With ``sweep.resume=true``, jobs that are finished in the same directory
    are skipped and jobs that were interrupted go on from their last checkpoint. Works with every launcher.
    """

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        self.max_batch_size = max_batch_size
        self.params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `sweep`."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Any]:
        """Run all jobs, then report.

        Raises:
            OptionError: a job has wrong names or options; none is started.
            SweepFailedError: a job has failed.
        """
        self._check_no_run()
        jobs = self._jobs(arguments)
        self._compose(jobs)
        directory = Path(self.config.hydra.sweep.dir).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        os.environ[SWEEP] = str(os.getpid())  # for jobs in other processes of this machine, which end with this one
        with locked(directory):
            self._sweep(jobs, directory)
        return []

    def _sweep(self, jobs: list[Job], directory: Path) -> None:
        pending = self._planned(jobs, directory)
        OmegaConf.save(self.config, directory / "multirun.yaml")
        try:
            self._launch(pending, directory)
        except (KeyboardInterrupt, SystemExit):
            self._report(directory)
            print(
                f"the sweep was interrupted; go on with the same command, hydra.sweep.dir={directory} and "
                "sweep.resume=true",
                file=sys.stderr,
            )
            raise
        self._report(directory)
        failures = {job.name: error for job in jobs if (error := _error(directory / job.name)) is not None}
        if failures:
            for name, error in failures.items():
                print(f"failed: {name}: {error.splitlines()[0]}", file=sys.stderr)
            raise SweepFailedError(f"{len(failures)} of {len(jobs)} jobs failed, see above and {directory}")

    def _jobs(self, arguments: list[str]) -> list[Job]:
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*(f"{key}={values}" for key, values in self.params.items()), *arguments])
        (combinations,) = BasicSweeper.split_arguments(overrides, None)
        jobs = [Job(list(each)) for each in combinations]
        common = set.intersection(*(set(job.overrides) for job in jobs)) if jobs else set()
        for job in jobs:
            job.varied = [each for each in job.overrides if each not in common and each.split("=")[0] not in IN_NAME]
        return jobs

    def _check_no_run(self) -> None:
        given = [text for text in self.config.hydra.overrides.hydra if text.startswith("hydra.run.")]
        if given:
            raise OptionError(f"{given[0]} is for a single run; a sweep goes to hydra.sweep.dir=DIR")

    def _compose(self, jobs: list[Job]) -> None:
        """Give the jobs their configurations. Raises OptionError with all that are wrong, before any is run."""
        shared = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
        wrong: dict[str, str] = {}
        for job in jobs:
            try:
                job.config = self.hydra_context.config_loader.load_sweep_config(self.config, list(job.overrides))
                check(OmegaConf.masked_copy(job.config, [key for key in job.config if key != "hydra"]))
            except (HydraException, OmegaConfBaseException, GCPError) as error:
                wrong[" ".join(each for each in job.overrides if each not in shared)] = sentence(error)
        if wrong:
            first = "; ".join(f"{name}: {reason}" for name, reason in list(wrong.items())[:SHOWN])
            more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
            raise OptionError(f"{len(wrong)} of {len(jobs)} jobs are wrong, so none was started: {first}{more}")

    def _planned(self, jobs: list[Job], directory: Path) -> list[Job]:
        """The jobs to launch, each with its directory; without those finished and those at work.

        Raises TakenError if a job's directory holds another run, or two jobs would have the same.
        """
        folders = [file.parent.parent for file in directory.glob(f"*/{ASKED}")] if self.config.sweep.resume else []
        earlier = {_identity(_asked(folder)): folder.name for folder in folders}
        number = 1 + max((_number(path) for path in directory.iterdir()), default=-1)
        pending = []
        for job in jobs:
            found = earlier.get(_identity(job.overrides))
            if found is not None:
                job.name = found
                if read_summary(directory / found).get("status") == OK or holder(directory / found) is not None:
                    continue
                job.ckpt = next(iter(to_resume(directory / found)), None)
            else:
                number += 1
                job.name = self._name(job, number - 1)
                if holds_run(directory / job.name) or job.name in (other.name for other in pending):
                    raise TakenError(
                        f"{directory / job.name} is the directory of more than one job; let hydra.sweep.subdir tell "
                        "jobs apart, as it does by default, or give another hydra.sweep.dir"
                    )
            pending.append(job)
        return pending

    def _name(self, job: Job, number: int) -> str:
        """The job's directory within the sweep's."""
        with open_dict(job.config):
            job.config.hydra.job.num = number
        return "-".join([str(job.config.hydra.sweep.subdir), *self._suffix(job)])[:LONGEST]

    def _suffix(self, job: Job) -> list[str]:
        """What is varied, unless the user has said how jobs are called."""
        named = any(str(each).startswith("hydra.sweep.subdir=") for each in self.config.hydra.overrides.hydra)
        return [] if named else [SPECIAL.sub("_", each.lstrip("+~")) for each in job.varied]

    def _launch(self, jobs: list[Job], directory: Path) -> None:
        """Launch until every job has ended; what a dying process took with it is launched again, the culprit is not."""
        while jobs:
            before = len(jobs)
            try:
                self.launcher.launch([self._arguments(job, directory) for job in jobs], initial_job_idx=0)
            except Exception as error:  # of the launcher: a process that was killed, a queue that refuses
                reason = str(error).split("\n")[0] or type(error).__name__
            else:
                reason = "the process of the job ended without a word"
            for job in jobs:
                place = directory / job.name
                if read_summary(place).get("status") == RUNNING and holder(place) is None:
                    Summary(directory / job.name).failed(f"killed: {reason}")
            jobs = [job for job in jobs if not read_summary(directory / job.name)]
            if len(jobs) == before:
                raise SweepFailedError(f"no job could be started: {reason}")

    def _arguments(self, job: Job, directory: Path) -> list[str]:
        resumed = [] if job.ckpt is None else [f"ckpt_path='{job.ckpt}'"]
        return [*job.overrides, *resumed, f"hydra.sweep.subdir='{job.name}'"]

    def _report(self, directory: Path) -> None:
        if not self.config.sweep.report:
            return
        from lightning_modules.report.writing import write_report

        write_report([directory], directory)
        if self.config.logger.name == "wandb":
            from lightning_modules.loggers.wandb import log_report

            options = OmegaConf.to_container(self.config.logger, resolve=True)
            assert isinstance(options, dict)
            del options["name"]
            log_report(directory, make_options(WandbOptions, options, "logger 'wandb'"), sweep_name(directory))


def sweep_name(directory: str | Path) -> str:
    """The sweep in ``directory`` as loggers name it: DATE/TIME, or what the user chose."""
    return "/".join(Path(directory).parts[-2:])


def register_sweeper() -> None:
    """Put the sweeper in the place of Hydra's basic one, because Hydra takes others from a package of its own only."""
    basic = f"{BasicSweeper.__module__}.{BasicSweeper.__name__}"
    Plugins.instance().class_name_to_class[basic] = ResumableSweeper


def _asked(directory: Path) -> list[str]:
    file = directory / ASKED
    return [str(override) for override in OmegaConf.load(file)] if file.exists() else []


def _identity(overrides: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(each for each in overrides if not each.startswith(NEUTRAL)))


def _number(path: Path) -> int:
    head = path.name.partition("-")[0]
    return int(head) if path.is_dir() and head.isdigit() else -1


def _error(directory: Path) -> str | None:
    summary, process = read_summary(directory), holder(directory)
    if process is not None:
        return f"{process} is still at it"
    return None if summary.get("status") == OK else str(summary.get("error") or "it was not started")
