"""Training goes on from every single checkpoint it writes to the same end, whatever decides when it validates."""

from __future__ import annotations

import csv
import itertools
import shutil
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from datamodules.datasets import create_datamodule
from lightning_modules.callbacks.checkpoints import best_checkpoint, last_checkpoints
from lightning_modules.callbacks.history import History
from lightning_modules.callbacks.resuming import Resume
from lightning_modules.classifier import Classifier
from lightning_modules.loggers.csv import MetricsCSV
from lightning_modules.run.write_checkpoint import AtomicCheckpointIO
from lightning_modules.settings.callback_options import CallbackOptions


class Copying(AtomicCheckpointIO):
    """Keeps a copy of each checkpoint, in the order of writing."""

    def __init__(self, folder: Path, accumulated: int) -> None:
        self.folder = folder
        self.whole_steps = {*range(0, 4, accumulated), 4}  # batches of an epoch of four
        self.numbers = itertools.count()

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        super().save_checkpoint(checkpoint, path, storage_options)
        batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"]
        assert batches in self.whole_steps, "gradients accumulated for the next step are lost"
        self.folder.mkdir(exist_ok=True)
        if Path(path).name == "last.ckpt":
            shutil.copy(path, self.folder / f"{next(self.numbers):02d}.ckpt")


CONDITIONED = {"orthogonal_gradient": True, "optimal_lr": True, "orthogonal_weights": True}


def train(directory, start=None, steps_done=0, rows_done=None, warmup=0, training=None, **options):
    """Twelve batches in three epochs, with dropout, a checkpoint after every step; gives what must be the same."""
    pl.seed_everything(0, verbose=False)
    schedule = {"name": "cosine", "warmup_steps": warmup}
    whitening = {"whitening": "first"} if training else {}
    network = {"name": "tiny", "width": 8, **whitening}, {"name": "pade", "reduced_channels": 4}
    module = Classifier(*network, 10, optimizer={"name": "sgd", "lr": 0.1}, schedule=schedule, training=training)
    module.model.classifier = nn.Sequential(nn.Dropout(0.5), module.model.classifier)
    data = create_datamodule("digits", image_size=16, batch_size=32)
    settings = CallbackOptions(checkpoint_every_n_steps=1)
    history, best = History(), best_checkpoint(directory / "checkpoints", settings)
    trainer = pl.Trainer(
        **{"max_epochs": 3, "limit_train_batches": 4, "limit_val_batches": 2, **options},
        accelerator="cpu",
        logger=MetricsCSV(directory, steps_done, rows_done),
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=directory,
        callbacks=[history, Resume(), best, *last_checkpoints(directory / "checkpoints", settings)],
        plugins=[Copying(directory / "copies", options.get("accumulate_grad_batches", 1))],
    )
    trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
    with (directory / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = ("val/", "train/")
    metrics = [{key: text for key, text in row.items() if key.startswith(wanted) and text} for row in rows]
    facts = history.accuracies, best.best_model_score, trainer.current_epoch, trainer.global_step
    return module.state_dict(), [each for each in metrics if each], facts


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="each epoch", marks=pytest.mark.slow),
        pytest.param({"warmup": 5, "max_epochs": 2}, id="warm-up in steps"),
        pytest.param({"val_check_interval": 0.5, "max_epochs": 2}, id="twice an epoch"),
        pytest.param({"check_val_every_n_epoch": 2}, id="every second epoch", marks=pytest.mark.slow),
        pytest.param({"limit_val_batches": 0, "max_epochs": 2}, id="never", marks=pytest.mark.slow),
        pytest.param({"max_steps": 10}, id="so many steps", marks=pytest.mark.slow),
        pytest.param({"accumulate_grad_batches": 3}, id="accumulated"),
        pytest.param({"training": CONDITIONED, "gradient_clip_val": 1.0, "max_epochs": 1}, id="conditioned"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_from_every_checkpoint_to_the_same_end(tmp_path, options):
    weights, metrics, facts = train(tmp_path / "whole", **options)
    copies = sorted((tmp_path / "whole/copies").iterdir())
    assert len(copies) >= 4
    for copy in copies:
        # the run directory as a kill leaves it: metrics.csv is ahead of the checkpoint
        directory = tmp_path / copy.stem
        shutil.copytree(tmp_path / "whole", directory)
        stored = torch.load(copy, weights_only=True)
        if stored["resume"]["inside"] and stored["global_step"] == options.get("max_steps"):
            continue  # Lightning takes the last of so many steps for the end, also of what would follow it
        shutil.copy(copy, directory / "checkpoints/last.ckpt")
        again = train(
            directory,
            directory / "checkpoints/last.ckpt",
            steps_done=stored["global_step"],
            rows_done=stored["resume"]["rows"],
            **options,
        )
        for name, value in weights.items():
            assert torch.equal(value, again[0][name]), (copy.stem, name)
        assert (again[1], again[2]) == (metrics, facts), copy.stem


def test_rows_that_will_be_written_again_go_also_after_damage(tmp_path):
    """A checkpoint with four rows and four steps behind it, from before the line of step 2 was taken out as damaged."""
    (tmp_path / "metrics.csv").write_text("step,train/loss_step\n0,4.0\n1,3.0\n3,2.0\n4,1.5\n5,1.0\n")
    assert MetricsCSV(tmp_path, steps_done=4, rows_done=4).written_rows() == 3
    assert (tmp_path / "metrics.csv").read_text() == "step,train/loss_step\n0,4.0\n1,3.0\n3,2.0\n"
