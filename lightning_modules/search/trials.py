"""The trials of a search: each done once, by one process at a time, whoever is killed in between."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from gcp.errors import DataError
from lightning_modules.metric_names import PRUNED_EPOCH
from lightning_modules.run.directory import TakenError
from lightning_modules.run.lock import InUseError, locked
from lightning_modules.run.summary import OK, read_summary
from lightning_modules.search.journal import FILE, open_study, pruner_of, sampler_of
from lightning_modules.settings.callback_options import better
from lightning_modules.settings.search import SearchOptions

CLAIMS = ".trials"  # folder of a search: a folder for each trial, locked by the process that is at it
NOTED = "search"  # attribute of the study: what it searches, written at once
SPACE = "space"  # within it: the distribution of each option


@dataclass(frozen=True)
class Trial:
    """One set of values.

    Attributes:
        number: its place in the search.
        values: by option, as on the command line.
    """

    number: int
    values: dict[str, str]


def as_run(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as trials have them: numbers with four digits, which is as much as tells them apart."""
    return {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in values.items()}


class Search:
    """A search in a directory.

    Args:
        directory: the sweep's, which exists.
        options: of the search, with the metric.
        space: Optuna's distribution of each option.
        asked: the arguments all trials have in common and that decide what comes of them.
        seed: of the sampler.
        resume: whether a search that is there already goes on.

    Raises:
        TakenError: the directory holds another search, or one that was not to be resumed.
        DataError: its file is damaged.
    """

    def __init__(
        self, directory: Path, options: SearchOptions, space: dict[str, Any], asked: list[str], seed: int, resume: bool
    ) -> None:
        assert options.metric is not None
        self.directory, self.options, self.space, self.seed = directory, options, space, seed
        self.file = directory / FILE
        self._claims: dict[int, ExitStack] = {}
        with self._alone():
            more = better(options.metric) == "max"
            self.study = open_study(self.file, "maximize" if more else "minimize", pruner_of(options))
            self._check_same(asked, resume)

    def take(self) -> Trial | None:
        """A trial nobody is at: one that a process was killed at, or a new one; None: there are enough."""
        with self._alone():
            trials = self.study.get_trials(deepcopy=False)
            for each in trials:
                if not each.state.is_finished() and each.number not in self._claims and self._claim(each.number):
                    return Trial(each.number, as_run(each.params))
            if len(trials) >= (self.options.trials or 0):
                return None
            self._claim(len(trials))
            return Trial(len(trials), as_run(self._begin(trials)))

    def record(self, trial: Trial, place: Path) -> None:
        """Note what came of a trial, whose run is in ``place``, and let go of it."""
        from optuna.trial import TrialState

        summary = read_summary(place)
        values = [each for each in self._reported(trial.number).values() if math.isfinite(each)]
        if summary.get("status") != OK or not values:
            self.study.tell(trial.number, state=TrialState.FAIL)
        elif summary.get(PRUNED_EPOCH) is not None:
            self.study.tell(trial.number, state=TrialState.PRUNED)
        else:
            self.study.tell(trial.number, max(values) if better(self.options.metric or "") == "max" else min(values))
        self._claims.pop(trial.number).close()

    def finished(self) -> list[Any]:
        """Optuna's records of the trials that have ended."""
        return [each for each in self.study.get_trials(deepcopy=False) if each.state.is_finished()]

    def release(self) -> None:
        """Let go of all trials without a result: another process, or a later one, goes on with them."""
        while self._claims:
            self._claims.popitem()[1].close()

    def _begin(self, trials: list[Any]) -> dict[str, Any]:
        """Write down a new trial with all its values at once: a process may be killed at any time.

        Optuna's own ``ask`` writes the trial first and then value by value, so the values are drawn in memory.
        """
        import optuna

        draft = optuna.create_study(
            direction=self.study.direction, sampler=sampler_of(self.options, self.seed, len(trials))
        )
        draft.add_trials(trials)
        values: dict[str, Any] = draft.ask(self.space).params
        state = optuna.trial.TrialState.RUNNING
        self.study.add_trial(optuna.trial.create_trial(state=state, params=values, distributions=self.space))
        return values

    def _reported(self, number: int) -> dict[int, float]:
        found: dict[int, float] = self.study.get_trials(deepcopy=False)[number].intermediate_values
        return found

    def _claim(self, number: int) -> bool:
        place = self.directory / CLAIMS / str(number)
        place.mkdir(parents=True, exist_ok=True)
        stack = ExitStack()
        try:
            stack.enter_context(locked(place))
        except InUseError:
            return False
        self._claims[number] = stack
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time looks for a trial."""
        with FileLock(self.directory / f"{FILE}.taking"):
            yield

    def _check_same(self, asked: list[str], resume: bool) -> None:
        from optuna.distributions import distribution_to_json

        space = {key: distribution_to_json(each) for key, each in self.space.items()}
        own = {"asked": sorted(asked), SPACE: space, "metric": self.options.metric}
        noted = self.study.user_attrs.get(NOTED)
        if noted is None:
            self.study.set_user_attr(NOTED, own)
            return
        if not resume:
            raise TakenError(
                f"{self.directory} holds a search with {len(self.study.get_trials(deepcopy=False))} trials; go on with "
                "it by sweep.resume=true, or give another hydra.sweep.dir"
            )
        changed = [key for key, value in own.items() if noted.get(key) != value]
        if changed:
            raise DataError(
                f"the search in {self.directory} was for something else ({changed[0]}: {noted.get(changed[0])}, now "
                f"{own[changed[0]]}); repeat its command, or give another hydra.sweep.dir"
            )
