"""What a checkpoint needs beside Lightning's state so that training goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loops import _Loop
from torch import Tensor
from torchmetrics import Metric

from lightning_modules.classifier import Classifier
from lightning_modules.distributed.gathering import gathered
from lightning_modules.loggers.csv import MetricsCSV
from lightning_modules.metric_names import TRAIN
from lightning_modules.run.checkpoint_names import RESUME


class Resume(Callback):
    """Completes each checkpoint, and restores what is in it when a resumed run starts to train.

    Lightning guesses from its counters where inside an epoch a checkpoint was written, and takes one written after the
    last batch for the end of the epoch, though validation and what follows from it are still to come. Here the counters
    are written so that they say one of: so many whole batches are done; validation is to be run next, from its start;
    validation is done; the epoch is over. Beside them go the random state (dropout draws from it), the sums behind the
    averages of the epoch's training metrics, and inside an epoch the number of rows in metrics.csv, and what Lightning
    logs of the step when the checkpoint has been written.
    """

    def __init__(self) -> None:
        self._validated = False  # since the last training batch
        self._trained = False  # a batch of this epoch, in this process
        self._step_ends = False  # its metrics are logged after the callbacks
        self._restored: dict[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore what the checkpoint holds of the epoch, its metrics and the random state."""
        restored, self._restored = self._restored, {}
        if not restored:
            return
        fit_loop = trainer.fit_loop
        if restored["inside"]:
            # Lightning asks the loaders to go on when it builds them, which is too early if something needed their
            # length before; iteration starts later, so that it is not too late here.
            fit_loop._load_combined_loader_states()
            _set_metrics(pl_module, trainer, restored["metrics"])
            if restored.get("logged_next"):
                trainer._logger_connector.log_metrics(restored["logged_next"], step=trainer.global_step - 1)
            if restored["trained"]:
                assert fit_loop._data_fetcher is not None
                fit_loop._data_fetcher.done = True  # no further batch, which also a limited epoch would be given
        else:
            _Loop.restarting.fset(fit_loop, False)  # type: ignore[attr-defined]  # a property; true with max_steps
        _set_random_state(restored["random"], pl_module.device)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the averages of the epoch before, which are logged after its checkpoint."""
        for logger in _tables(trainer):
            logger.save()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note that a batch is trained on, after which validation is due again."""
        self._validated, self._trained, self._step_ends = False, True, True

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that the metrics of the step have been logged."""
        self._step_ends = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that validation is done; checkpoint callbacks come after this one."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the training metrics of an epoch whose last batch was trained on before the interruption."""
        if not self._trained:
            assert isinstance(pl_module, Classifier)
            pl_module.log_epoch(TRAIN)
        self._trained = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Make the counters unambiguous and add the rest."""
        loops = checkpoint["loops"]["fit_loop"]
        epochs, batches = loops["epoch_progress"]["current"], loops["epoch_loop.batch_progress"]
        inside = epochs["ready"] != epochs["processed"]
        state = {"inside": inside, "trained": False, "random": _random_state(pl_module.device), "rows": None}
        done = batches if inside else loops["epoch_progress"]
        for tracker in (done["total"], done["current"]):
            tracker["completed"] = tracker["processed"]
        if inside:
            epoch_loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
            assert fetcher is not None
            if not epoch_loop._should_check_val_fx(fetcher):
                loops["epoch_loop.state_dict"]["_batches_that_stepped"] += 1
                state["trained"] = batches["is_last_batch"]
            elif not self._validated:
                validation = loops["epoch_loop.val_loop.batch_progress"]
                validation["total"].update(ready=1, started=1, processed=0, completed=0)  # Lightning's "in the middle"
                validation["current"].update(ready=0, started=0, processed=0, completed=0)
                validation["is_last_batch"] = False
            state["metrics"] = _gathered_metrics(pl_module)
            if self._step_ends:
                state["logged_next"] = _step_metrics(trainer)
            for logger in _tables(trainer):
                state["rows"] = logger.written_rows()
        checkpoint[RESUME] = state

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the state until training starts; checkpoints of older versions have none."""
        self._restored = checkpoint.get(RESUME, {})


def _tables(trainer: pl.Trainer) -> list[MetricsCSV]:
    return [logger for logger in trainer.loggers if isinstance(logger, MetricsCSV) and trainer.is_global_zero]


def _step_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """What is going to be logged of this step; empty for a step that is not logged."""
    connector = trainer._logger_connector
    if not connector.should_update_logs:
        return {}
    return {name: float(value) for name, value in connector.metrics["log"].items()}


def _training_metrics(module: pl.LightningModule) -> Iterator[tuple[str, Metric]]:
    assert isinstance(module, Classifier)
    for name, metric in module.named_modules():
        if isinstance(metric, Metric) and name.split(".")[1:2] == ["train_"]:
            yield name, metric


def _gathered_metrics(module: pl.LightningModule) -> dict[str, dict[str, Tensor]]:
    """The state of each metric, (processes, ...) for each of its sums."""
    states: dict[str, dict[str, Tensor]] = {}
    for name, metric in _training_metrics(module):
        counted = torch.tensor(metric.update_count, device=module.device)
        sums: dict[str, Any] = {**metric.metric_state, "update_count": counted}
        states[name] = {key: gathered(value.detach()).cpu() for key, value in sums.items()}
    return states


def _set_metrics(module: pl.LightningModule, trainer: pl.Trainer, states: dict[str, dict[str, Tensor]]) -> None:
    for name, metric in _training_metrics(module):
        state = states.get(name)
        if state is None:
            continue
        for key, values in state.items():
            if len(values) == trainer.world_size:
                value = values[trainer.global_rank]
            else:  # another number of processes: the first one takes all
                value = values.sum(0) if trainer.is_global_zero else torch.zeros_like(values[0])
            if key == "update_count":
                metric._update_count = int(value)
            else:
                setattr(metric, key, value.to(metric.device))


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
