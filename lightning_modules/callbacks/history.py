"""The validation accuracies of every epoch."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from lightning_modules import metric_names as names
from lightning_modules.epochs import shown


class History(Callback):
    """Keeps ``val/acc1`` of each validated epoch, and what is measured beside it; a resumed run goes on with it.

    Attributes:
        accuracies: fractions by Lightning's epoch, counted from 0, in order.
        balanced: of each epoch, the metrics of unbalanced data by name, where they are computed.
    """

    def __init__(self) -> None:
        self.accuracies: dict[int, float] = {}
        self.balanced: dict[int, dict[str, float]] = {}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the results of the epoch."""
        if not trainer.sanity_checking and names.VAL_ACCURACY in trainer.callback_metrics:
            found = trainer.callback_metrics
            self.accuracies[trainer.current_epoch] = float(found[names.VAL_ACCURACY])
            present = [name for name in names.MONITORED_BALANCED if name in found and not names.is_training(name)]
            self.balanced[trainer.current_epoch] = {name: float(found[name]) for name in present}

    def summary_entries(self, best: int | None, monitor: str) -> dict[str, Any]:
        """What the summary says of the last epoch and of Lightning's epoch ``best``, whose checkpoint was kept.

        ``val/acc1`` is that of the best epoch, or of the last one if another metric, ``monitor``, decides; metrics of
        unbalanced data are those of the epoch whose checkpoint was kept.
        """
        final = self.accuracies[max(self.accuracies)] if self.accuracies else None
        at_best = None if best is None else self.accuracies.get(best)
        kept = best if best in self.balanced else max(self.balanced, default=0)
        return {
            **self.balanced.get(kept or 0, {}),
            names.VAL_ACCURACY: at_best if monitor == names.VAL_ACCURACY else final,
            names.FINAL_VAL_ACCURACY: final,
            names.BEST_VAL_ACCURACY: at_best,
            names.BEST_EPOCH: None if best is None else shown(best),
        }

    def state_dict(self) -> dict[str, Any]:
        """The accuracies so far."""
        return {"accuracies": self.accuracies, "balanced": self.balanced}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.accuracies = dict(state_dict["accuracies"])
        self.balanced = dict(state_dict.get("balanced", {}))
