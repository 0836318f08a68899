"""Training ends where a metric no longer improves."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason

from lightning_modules import metric_names as names
from lightning_modules.epochs import shown
from lightning_modules.run.spec import Run
from lightning_modules.settings.callback_options import EarlyStoppingOptions, better
from lightning_modules.settings.callbacks import own_options


def build(run: Run, options: EarlyStoppingOptions) -> PatientStopping:
    """The callback of ``callbacks.early_stopping``; the metric is that of the best checkpoint if none is named."""
    section = own_options(run.config["callbacks"])
    if options.monitor is None or options.monitor == section.monitor:
        return PatientStopping(options, section.monitor, section.better)
    return PatientStopping(options, options.monitor, better(options.monitor))


class PatientStopping(EarlyStopping):
    """Lightning's EarlyStopping, whose patience counts epochs, however seldom they are validated.

    It decides in validated epochs alone, so that the weights training ends with are validated ones. A run that goes on
    from one of its checkpoints stops where it would have; one that had stopped goes on if its patience is longer now.

    Args:
        options: patience and what counts as an improvement.
        monitor: the metric.
        mode: ``max`` or ``min``: what is better.
    """

    def __init__(self, options: EarlyStoppingOptions, monitor: str, mode: str) -> None:
        super().__init__(
            monitor,
            min_delta=options.min_delta,
            patience=options.patience,
            mode=mode,
            stopping_threshold=options.threshold,
            check_on_train_epoch_end=names.is_training(monitor),
        )
        self._checked = -1  # Lightning's epoch of the last decision
        self._last = False  # whether training would have ended here anyway

    @property
    def stopped(self) -> bool:
        """Whether its last decision was to stop."""
        return self.stopping_reason != EarlyStoppingReason.NOT_STOPPED

    @property
    def summary_entries(self) -> dict[str, Any]:
        """Entries of ``summary.json``: the last epoch, if the run stopped before its end, and why."""
        stopped = self.stopped and not self._last
        return {
            names.STOPPED_EPOCH: shown(self.stopped_epoch) if stopped else None,
            names.STOPPED_REASON: self._reason() if stopped else None,
        }

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that had stopped does not go on, unless its patience is longer now."""
        if self.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED and self.wait_count < self.patience:
            self.stopping_reason = EarlyStoppingReason.NOT_STOPPED
        epoch_is_over = trainer.fit_loop.epoch_progress.current.ready == trainer.current_epoch
        trainer.should_stop = trainer.should_stop or (self.stopped and epoch_is_over)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Decide, if the metric is one of training; end a run that was stopped inside this epoch."""
        if (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0:
            super().on_train_epoch_end(trainer, pl_module)
        trainer.should_stop = trainer.should_stop or self.stopped

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print that training was stopped early, and why."""
        self._last = trainer.current_epoch == trainer.max_epochs
        if self.stopped and not self._last and trainer.is_global_zero:
            print(f"stopped early after epoch {shown(self.stopped_epoch)} of {trainer.max_epochs}: {self._reason()}")

    def state_dict(self) -> dict[str, Any]:
        """Lightning's, and the epoch of the last decision."""
        return {**super().state_dict(), "checked": self._checked}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there, with the patience that is asked for now."""
        super().load_state_dict({**state_dict, "patience": self.patience})
        self._checked = state_dict["checked"]

    def _run_early_stopping_check(self, trainer: pl.Trainer) -> None:
        self.wait_count += max(trainer.current_epoch - self._checked - 1, 0)  # epochs without a validation
        self._checked = trainer.current_epoch
        super()._run_early_stopping_check(trainer)

    def _reason(self) -> str:
        best = f"{float(self.best_score):.4f}"
        if self.stopping_reason == EarlyStoppingReason.STOPPING_THRESHOLD:
            return f"{self.monitor} is better than {self.stopping_threshold}"
        if self.stopping_reason == EarlyStoppingReason.NON_FINITE_METRIC:
            return f"{self.monitor} is not finite"
        return f"{self.monitor} is no better than {best} for {self.wait_count} epochs"
