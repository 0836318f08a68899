"""The sweeper: every combination of values, whatever becomes of the single jobs, and a report at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from markupsafe import Markup
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from conf.check_options import check
from conf.messages import sentence
from conf.overrides import values_of
from gcp.errors import GCPError, OptionError
from lightning_modules.run.interruption import Interrupted
from lightning_modules.run.job import InterruptedRunError
from lightning_modules.run.lock import locked
from lightning_modules.run.parent import SWEEP
from lightning_modules.run.scheduler import restarted
from lightning_modules.run.stored_choices import stored_choices
from lightning_modules.run.summary import SWEEP as SWEEP_CONFIG
from lightning_modules.run.sweep import Job, check_all_ok, in_all, jobs_of, launch, left_to_do, sweep_name
from lightning_modules.search.journal import need_optuna
from lightning_modules.settings.loggers import WandbOptions, chosen_loggers
from lightning_modules.settings.modes import formats_of

SUBMITIT = "hydra_plugins.hydra_submitit_launcher.submitit_launcher"
SHOWN = 5  # reasons that are told


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
        self._context, self._config = hydra_context, config
        if restarted():  # a scheduler's job that does the whole sweep goes on with it
            self._config.sweep.resume = True
        _register_launchers()
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Any]:
        """Run all jobs, then report.

        Raises:
            OptionError: a job has wrong names or options; none is started.
            SweepFailedError: a job has failed.
        """
        self._check_no_run()
        if self._config.search.trials is not None:
            return self._search(arguments)
        jobs = self._jobs(arguments)
        configs = self._compose(jobs)
        directory = self._directory()

        def named(job: Job, number: int) -> str:
            return self._name(configs[jobs.index(job)], number) + ("" if self._subdir_given() else job.suffix)

        with locked(directory):
            pending = left_to_do(jobs, directory, bool(self._config.sweep.resume), named)
            OmegaConf.save(self._config, directory / SWEEP_CONFIG)
            with self._resumable(directory, lambda: self._report(directory)):
                launch(pending, directory, self._start)
            check_all_ok(jobs, directory)
        return []

    def _search(self, arguments: list[str]) -> list[Any]:
        """Run the trials of a search, then report. Raises as `sweep`; OptionError for a space that is none."""
        need_optuna()
        from conf.search_space import corners, space_of
        from conf.searching import Searching
        from lightning_modules.search.page import CSV

        fixed, space = space_of(self._overrides(arguments))
        config = self._compose([Job([*fixed, *corner]) for corner in corners(space)])[0]
        directory = self._directory()
        search = Searching(config, directory, fixed, space)
        OmegaConf.save(self._config, directory / SWEEP_CONFIG)

        def named(job: Job, number: int) -> str:
            return self._name(self._compose([job])[0], number)

        def report() -> None:
            if search.write_trials():
                self._report(directory, search.parts(), [CSV])
                search.print_best()

        with self._resumable(directory, report):
            search.run(named, self._start)
        return []

    def _directory(self) -> Path:
        """The sweep's, made."""
        directory = Path(self._config.hydra.sweep.dir).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        os.environ[SWEEP] = str(os.getpid())  # for jobs in other processes of this machine, which end with this one
        return directory

    def _name(self, config: DictConfig, number: int) -> str:
        """The directory of the job that has the ``number``, within the sweep's."""
        with open_dict(config):
            config.hydra.job.num = number
        return str(config.hydra.sweep.subdir)

    def _start(self, jobs: list[list[str]]) -> object:
        return self._launcher.launch(jobs, initial_job_idx=0)

    @contextmanager
    def _resumable(self, directory: Path, report: Callable[[], None]) -> Iterator[None]:
        """Report at the end of the block, of a sweep that was interrupted too, which then says how to go on."""
        try:
            yield
        except (Interrupted, SystemExit) as stop:  # between the jobs, or in one
            report()
            code = 128 + stop.signum if isinstance(stop, Interrupted) else int(stop.code or 0)
            sentence = "the sweep was interrupted; go on with the same command, "
            raise InterruptedRunError(f"{sentence}hydra.sweep.dir={directory} and sweep.resume=true", code) from None
        report()

    def _jobs(self, arguments: list[str]) -> list[Job]:
        overrides = self._overrides(arguments)
        (combinations,) = BasicSweeper.split_arguments(overrides, None)
        if any(each.key_or_group == "ckpt_path" and each.is_sweep_override() for each in overrides):
            combinations = [[*each, *stored_choices(values_of(each))] for each in combinations]
        return jobs_of(combinations)

    def _overrides(self, arguments: list[str]) -> list[Override]:
        """The values of a sweep's file, then those of the command line."""
        loader = self._context.config_loader
        parser = OverridesParser.create(config_loader=loader)
        overrides = parser.parse_overrides([*(f"{key}={values}" for key, values in self.params.items()), *arguments])
        for each in overrides:
            if (each.is_range_sweep() or each.is_interval_sweep()) and each.key_or_group in loader.list_groups(""):
                raise OptionError(f"{each.input_line} is a range, and names have none; write {each.key_or_group}=a,b,c")
        return overrides

    def _check_no_run(self) -> None:
        given = [text for text in self._config.hydra.overrides.hydra if text.startswith("hydra.run.")]
        if given:
            raise OptionError(f"{given[0]} is for a single run; a sweep goes to hydra.sweep.dir=DIR")

    def _compose(self, jobs: list[Job]) -> list[DictConfig]:
        """The jobs' configurations, Hydra's part too. Raises OptionError with all that are wrong, before any is run."""
        shared = in_all(jobs) if len(jobs) > 1 else set()
        configs: list[DictConfig] = []
        wrong: dict[str, list[str]] = {}  # names of the jobs, by what is wrong with them
        for job in jobs:
            try:
                config = self._context.config_loader.load_sweep_config(self._config, list(job.overrides))
                check(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]))
                configs.append(config)
            except (HydraException, OmegaConfBaseException, GCPError) as error:
                name = " ".join(each for each in job.overrides if each not in shared)
                wrong.setdefault(sentence(error), []).append(name)
        if wrong:
            raise OptionError(_of_wrong_jobs(wrong, len(jobs)))
        return configs

    def _subdir_given(self) -> bool:
        """Whether the user has said how jobs are called."""
        return any(str(each).startswith("hydra.sweep.subdir=") for each in self._config.hydra.overrides.hydra)

    def _report(self, directory: Path, parts: Iterable[Markup] = (), files: Sequence[str] = ()) -> None:
        if not self._config.sweep.report:
            return
        from lightning_modules.report.runs import read_runs
        from lightning_modules.report.writing import write_report

        sections: Any = OmegaConf.to_container(OmegaConf.masked_copy(self._config, ["report"]))
        write_report(read_runs([directory]), directory, formats_of(sections), parts, files)
        logger: Any = OmegaConf.to_container(self._config.logger, resolve=True)
        options = chosen_loggers(logger).get("wandb")
        if isinstance(options, WandbOptions):
            from lightning_modules.loggers.wandb import log_report

            log_report(directory, options, sweep_name(directory))


def register_sweeper() -> None:
    """Put the sweeper in the place of Hydra's basic one, because Hydra takes others from a package of its own only."""
    basic = f"{BasicSweeper.__module__}.{BasicSweeper.__name__}"
    Plugins.instance().class_name_to_class[basic] = ResumableSweeper


def _register_launchers() -> None:
    """Put ours in the place of the launchers of hydra-submitit-launcher, if Hydra has found that package."""
    known = Plugins.instance().class_name_to_class
    if f"{SUBMITIT}.SlurmLauncher" in known:
        from conf.queue_launcher import LocalLauncher, SlurmLauncher

        known.update({f"{SUBMITIT}.{each.__name__}": each for each in (SlurmLauncher, LocalLauncher)})


def _of_wrong_jobs(wrong: dict[str, list[str]], count: int) -> str:
    """The sentence for jobs that are ``wrong``, by reason, of ``count`` in all; what is wrong with all is said once."""
    number = sum(map(len, wrong.values()))
    if len(wrong) == 1 and number == count > 1:
        (told,) = wrong
    else:
        likewise = {
            reason: f" ({len(names) - 1} more likewise)" if names[1:] else "" for reason, names in wrong.items()
        }
        told = "; ".join(f"{wrong[each][0]}: {each}{likewise[each]}" for each in list(wrong)[:SHOWN])
        told += f"; and {len(wrong) - SHOWN} more reasons" if len(wrong) > SHOWN else ""
    return f"{number} of {count} jobs are wrong, so none was started: {told}"
