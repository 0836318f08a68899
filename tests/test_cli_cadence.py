"""Which epochs are validated, what is kept of them, and which of them is best."""

from __future__ import annotations

import csv

import pytest
import torch

from gcp.errors import OptionError
from lightning_modules.metric_names import MONITORED
from lightning_modules.settings.callback_options import CallbackOptions
from tests.small import SMALL

FEW = [argument for argument in SMALL if "max_epochs" not in argument]


def epochs(tmp_path, name):
    """Optimizer steps of last.ckpt, and the validated epochs with their metrics."""
    last = torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)
    with (tmp_path / name / "metrics.csv").open() as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file) if row["val/acc1"]}
    return last["global_step"], rows


def test_the_last_epoch_is_validated_and_kept(cli, tmp_path, summary_of):
    assert cli(*FEW, "trainer.max_epochs=2", "trainer.check_val_every_n_epoch=10", "hydra.run.dir=seldom").code == 0
    steps, rows = epochs(tmp_path, "seldom")
    assert (steps, list(rows)) == (4, [2])
    assert (tmp_path / "seldom/checkpoints/best.ckpt").exists()
    assert cli(*FEW, "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2", "hydra.run.dir=odd").code == 0
    steps, rows = epochs(tmp_path, "odd")
    assert (steps, list(rows)) == (6, [2, 3])
    summary = summary_of(tmp_path / "odd")
    assert summary["epochs"] == 3
    assert summary["final/val/acc1"] == pytest.approx(float(rows[3]["val/acc1"]))


def test_a_loss_is_best_where_it_is_least(cli, tmp_path, summary_of):
    arguments = ("trainer.max_epochs=3", "callbacks.monitor=val/loss", "optimizer.lr=0.3", "hydra.run.dir=run")
    assert cli(*FEW, *arguments).code == 0
    losses = {epoch: float(row["val/loss"]) for epoch, row in epochs(tmp_path, "run")[1].items()}
    assert len(set(losses.values())) == 3
    assert summary_of(tmp_path / "run")["best/epoch"] == min(losses, key=losses.__getitem__)


@pytest.mark.parametrize("monitor", MONITORED)
def test_the_metric_says_what_is_better(monitor):
    assert CallbackOptions(monitor=monitor).better == ("min" if "loss" in monitor else "max")
    assert CallbackOptions(monitor=monitor, monitor_mode="min").better == "min"


def test_an_unknown_metric_is_refused():
    with pytest.raises(OptionError, match=r"monitor must be one of val/acc1, .*got 'val/acc' \(did you mean 'val/acc"):
        CallbackOptions(monitor="val/acc")
