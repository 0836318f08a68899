"""A sweep that is a search: trials instead of combinations, each chosen by what came of those before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gcp.errors import SweepFailedError
from lightning_modules.run.find_checkpoint import to_resume
from lightning_modules.run.summary import OK, read_summary
from lightning_modules.run.sweep import ASIDE, Job, launch
from lightning_modules.search.trials import Search, Trial
from lightning_modules.settings.search import SearchOptions

OWN = ("search.trials=", "search.together=", "logger=", "logger.", "report.", "hydra.")  # what changes no trial


def search_in(
    directory: Path, options: SearchOptions, space: dict[str, Any], fixed: list[str], seed: int, resume: bool
) -> Search:
    """The search in ``directory``, new or going on. Raises TakenError or DataError, see `Search`."""
    asked = [each for each in fixed if not each.startswith((*ASIDE, *OWN))]
    return Search(directory, options, space, asked, seed, resume)


def run_trials(
    search: Search, fixed: list[str], named: Callable[[Job, int], str], start: Callable[[list[list[str]]], object]
) -> None:
    """Do trials until there are as many as were asked for.

    Args:
        search: the search.
        fixed: the arguments all trials have.
        named: gives the job of a trial its directory, from its number.
        start: takes the arguments of each job, as `launch` wants it.

    Raises:
        SweepFailedError: no trial has come to an end with a result.
    """
    try:
        while trials := _taken(search):
            jobs = {trial.number: _job(search, trial, fixed, named) for trial in trials}
            todo = [job for job in jobs.values() if not _done(search.directory / job.name)]
            launch(todo, search.directory, start)
            for trial in trials:
                search.settle(trial, search.directory / jobs[trial.number].name)
    finally:
        search.release()
    if not any(each.value is not None for each in search.finished()):
        raise SweepFailedError(f"none of the trials has a result, see {search.directory}")


def _taken(search: Search) -> list[Trial]:
    found: list[Trial] = []
    while len(found) < search.options.together and (trial := search.take()) is not None:
        found.append(trial)
    return found


def _job(search: Search, trial: Trial, fixed: list[str], named: Callable[[Job, int], str]) -> Job:
    options = dataclasses.asdict(search.options)
    own = [f"search.metric={options['metric']}", f"search.journal='{search.file}'", f"search.trial={trial.number}"]
    job = Job([*fixed, *(f"{name}={value}" for name, value in trial.values.items()), *own])
    job.name = named(job, trial.number)
    job.ckpt = to_resume(search.directory / job.name)
    return job


def _done(directory: Path) -> bool:
    return read_summary(directory).get("status") == OK
