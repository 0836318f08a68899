"""Trials of a search report how they get on, and stop where they fall behind."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from gcp.options import make_options
from lightning_modules import metric_names as names
from lightning_modules.epochs import shown
from lightning_modules.run.ranks import is_main_process
from lightning_modules.run.spec import Run
from lightning_modules.search.journal import need_optuna, open_study, pruner_of
from lightning_modules.settings.callback_options import CallbackOptions
from lightning_modules.settings.search import SearchOptions


def build(run: Run, options: CallbackOptions) -> Pruning | None:
    """The callback of a trial; None: the run is none."""
    search = make_options(SearchOptions, run.config.get("search") or {}, "section 'search'")
    if search.trial is None or search.journal is None or run.stage == 1:
        return None
    need_optuna()
    return Pruning(search, search.metric or options.monitor)


class Pruning(Callback):
    """Writes the metric of each epoch into the search's journal, and ends a training that the pruner gives up.

    Args:
        options: of the search.
        metric: what it goes by.

    Attributes:
        epoch: the one after which the trial was pruned, counted from 1; None: it was not.
    """

    def __init__(self, options: SearchOptions, metric: str) -> None:
        self.metric = metric
        self.epoch: int | None = None
        self._trial = _trial_of(options) if is_main_process() else None

    @property
    def summary_entries(self) -> dict[str, Any]:
        """Entry of ``summary.json``: the epoch."""
        return {names.PRUNED_EPOCH: self.epoch}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report a metric of validation."""
        if not trainer.sanity_checking and not names.is_training(self.metric):
            self._report(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report a metric of training."""
        if names.is_training(self.metric):
            self._report(trainer)

    def _report(self, trainer: pl.Trainer) -> None:
        epoch, behind = shown(trainer.current_epoch), False
        value = float(trainer.callback_metrics.get(self.metric, math.nan))
        if self._trial is not None and math.isfinite(value):
            if epoch not in self._trial.study.get_trials(deepcopy=False)[self._trial.number].intermediate_values:
                self._trial.report(value, epoch)  # once: a trial that goes on does an epoch again
            behind = epoch < (trainer.max_epochs or 0) and self._trial.should_prune()
        if trainer.strategy.broadcast(behind):
            self.epoch = epoch
            trainer.should_stop = True
            if trainer.is_global_zero:
                print(f"pruned after epoch {epoch} of {trainer.max_epochs}: {self.metric} is {value:.4f}")


def _trial_of(options: SearchOptions) -> Any:
    """The running trial, as Optuna gives it to the process that asked for it."""
    from optuna.trial import Trial

    study = open_study(Path(options.journal or ""), pruner=pruner_of(options))
    return Trial(study, study.get_trials(deepcopy=False)[options.trial]._trial_id)
