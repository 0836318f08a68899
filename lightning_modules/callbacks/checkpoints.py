"""Checkpoints of a run: ``best.ckpt`` and ``last.ckpt``, with the configuration inside."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from lightning_modules.callbacks.stopping import step_is_whole
from lightning_modules.metric_names import is_training
from lightning_modules.run.checkpoint_names import BEST, CONFIG_KEY, LAST, PREPROCESSING_KEY, STAGES
from lightning_modules.run.interruption import Interrupted
from lightning_modules.run.ranks import is_main_process
from lightning_modules.run.spec import Run
from lightning_modules.settings.callback_options import CallbackOptions


def best_checkpoint(directory: Path, options: CallbackOptions) -> ModelCheckpoint:
    """Keeps ``best.ckpt`` by the monitored metric."""
    return BestCheckpoint(
        directory,
        filename=Path(BEST).stem,
        monitor=options.monitor,
        mode=options.better,
        save_on_train_epoch_end=True if is_training(options.monitor) else None,  # None: with its validation
        enable_version_counter=False,
    )


def last_checkpoints(directory: Path, options: CallbackOptions) -> list[ModelCheckpoint]:
    """Keep ``last.ckpt`` up to date: after every epoch, and as often inside one as the options say."""
    steps = options.checkpoint_every_n_steps
    return [LastCheckpoint(directory), *([] if steps is None else [LastCheckpoint(directory, steps)])]


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``best.ckpt``; a run that goes on in another directory, or a moved one, takes its best with it."""

    _folder: Path | None = None  # of the checkpoint a run goes on from

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note the folder of the checkpoint the run goes on from."""
        self._folder = Path(str(trainer.ckpt_path)).resolve().parent

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` gave, with the best checkpoint copied into this run's folder."""
        earlier, own = state_dict["best_model_path"], Path(str(self.dirpath)) / BEST
        if earlier and state_dict["dirpath"] != self.dirpath:
            candidates = [Path(earlier)] if self._folder is None else [self._folder / BEST, Path(earlier)]
            found = [path for path in candidates if path.exists()]
            if not found:
                return  # the best so far is gone
            if found[0] != own and is_main_process():
                own.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found[0], own)
            scores = {str(own): score for score in state_dict["best_k_models"].values()}
            paths = dict.fromkeys(("best_model_path", "kth_best_model_path"), str(own))
            state_dict = {**state_dict, **paths, "best_k_models": scores, "dirpath": self.dirpath}
        super().load_state_dict(state_dict)


class LastCheckpoint(ModelCheckpoint):
    """Keeps ``last.ckpt`` after every epoch and when the run is interrupted, or every so many steps.

    Not after other exceptions: a network that ran into NaN must not replace its last good state.

    Args:
        directory: the folder of the checkpoints.
        steps: optimizer steps between two of them; None: after every epoch.
    """

    def __init__(self, directory: Path, steps: int | None = None) -> None:
        super().__init__(
            directory,
            filename=Path(LAST).stem,
            every_n_train_steps=steps,
            save_on_exception=steps is None,
            save_on_train_epoch_end=True,  # Lightning's own choice waits for a validation
            enable_version_counter=False,
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every so many steps, never with gradients accumulated for the next step, which would be lost."""
        if step_is_whole(trainer, batch_idx):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Save when a person or the scheduler stops the run, all of its processes in the same place."""
        if isinstance(exception, Interrupted) and exception.orderly:
            super().on_exception(trainer, pl_module, exception)


class ConfigInCheckpoint(Callback):
    """Writes what the other modes need into each checkpoint.

    Args:
        run: its resolved configuration, from which ``mode=test`` rebuilds the network, and that of the run of two
            stages it is part of, with which that run goes on.
        preprocessing: `Preprocessing.plain` of the dataset, with which ``mode=predict`` reads pictures; None: unknown.
    """

    def __init__(self, run: Run, preprocessing: dict[str, Any] | None = None) -> None:
        self.run = run
        self.preprocessing = preprocessing

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add configuration and preprocessing."""
        checkpoint[CONFIG_KEY] = self.run.config
        if self.run.stages is not None:
            checkpoint[STAGES] = {"config": self.run.stages, "stage": self.run.stage}
        checkpoint[PREPROCESSING_KEY] = self.preprocessing
