"""A sweep that is a search: trials instead of combinations, each chosen by what came of those before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup
from omegaconf import DictConfig, OmegaConf

from gcp.errors import SweepFailedError
from gcp.options import make_options
from lightning_modules.run.find_checkpoint import to_resume
from lightning_modules.run.summary import OK, read_summary
from lightning_modules.run.sweep import ASIDE, Job, launch
from lightning_modules.search.page import CSV, best_of, parts, write_trials
from lightning_modules.search.trials import Search, Trial, as_run
from lightning_modules.settings.search import SearchOptions

OWN = ("search.trials=", "search.together=", "logger=", "logger.", "report.", "hydra.")  # what changes no trial


class Searching:
    """The search of one command.

    Args:
        config: a configuration with the options all trials have.
        directory: the sweep's.
        fixed: the arguments all trials have.
        space: Optuna's distribution of each option that is searched.

    Raises TakenError or DataError, see `Search`.
    """

    def __init__(self, config: DictConfig, directory: Path, fixed: list[str], space: dict[str, Any]) -> None:
        self.fixed = fixed
        self.metric = str(config.search.metric or config.callbacks.monitor)
        values: Any = OmegaConf.to_container(config.search)
        options = make_options(SearchOptions, {**values, "metric": self.metric}, "section 'search'")
        asked = [each for each in fixed if not each.startswith((*ASIDE, *OWN))]
        self.search = Search(directory, options, space, asked, int(config.seed), bool(config.sweep.resume))

    def run(self, named: Callable[[Job, int], str], start: Callable[[list[list[str]]], object]) -> None:
        """Do trials until there are as many as were asked for.

        Args:
            named: gives the job of a trial its directory, from its number.
            start: takes the arguments of each job, as `launch` wants it.

        Raises:
            SweepFailedError: no trial has come to an end with a result.
        """
        search = self.search
        try:
            while trials := self._taken():
                jobs = {trial.number: self._job(trial, named) for trial in trials}
                todo = [job for job in jobs.values() if not _done(search.directory / job.name)]
                launch(todo, search.directory, start)
                for trial in trials:
                    search.record(trial, search.directory / jobs[trial.number].name)
        finally:
            search.release()
        if not any(each.value is not None for each in search.finished()):
            raise SweepFailedError(f"none of the trials has a result, see {search.directory}")

    def write_trials(self) -> bool:
        """Write search.csv, if a trial has ended; tells whether."""
        if self.search.finished():
            write_trials(self.search.study, self.metric, self.search.directory / CSV)
        return bool(self.search.finished())

    def parts(self) -> Iterator[Markup]:
        """What it has found, for the report's page."""
        return parts(self.search.study, self.metric)

    def print_best(self) -> None:
        """A line on the best trial."""
        best = best_of(self.search.study)
        if best is not None:
            values = " ".join(f"{name}={value}" for name, value in as_run(best.params).items())
            print(f"best trial {best.number}: {self.metric}={best.value:.4f} with {values}")

    def _taken(self) -> list[Trial]:
        found: list[Trial] = []
        while len(found) < self.search.options.together and (trial := self.search.take()) is not None:
            found.append(trial)
        return found

    def _job(self, trial: Trial, named: Callable[[Job, int], str]) -> Job:
        own = [f"search.metric={self.metric}", f"search.journal='{self.search.file}'", f"search.trial={trial.number}"]
        job = Job([*self.fixed, *(f"{name}={value}" for name, value in trial.values.items()), *own])
        job.name = named(job, trial.number)
        job.ckpt = to_resume(self.search.directory / job.name)
        return job


def _done(directory: Path) -> bool:
    return read_summary(directory).get("status") == OK
