"""What a run shows while it trains: lines that come at once, bars that fit, epochs counted one way."""

from __future__ import annotations

import csv
import io
import json
import re
import sys

import pytest
import pytorch_lightning as pl
import rich
import torch
from pytorch_lightning.callbacks import Callback

from lightning_modules.callbacks.progress import Bars, EpochLines
from lightning_modules.epochs import CountedFromOne
from lightning_modules.settings.loggers import LOGGERS
from tests.lightning_modules.test_classifier import classifier, loader, trainer
from tests.small import SMALL

LINE = re.compile(r"epoch (\d)/3  train loss \d\.\d{4} acc \d+\.\d\d%(  val loss \d\.\d{4} acc \d+\.\d\d%)?  \d+\.\d s")


class Watch(Callback):
    """Notes what had reached the file when each epoch began."""

    def __init__(self, file: io.BytesIO) -> None:
        self.file, self.lines = file, []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.lines.append(self.file.getvalue().decode().splitlines())


def test_a_line_reaches_the_file_when_its_epoch_ends(tmp_path, monkeypatch):
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(file)))  # as into a file: kept until flushed
    watch = Watch(file)
    arguments = {"max_epochs": 3, "check_val_every_n_epoch": 2, "callbacks": [EpochLines("[4] "), watch]}
    trainer(tmp_path, **arguments).fit(classifier(), loader(), loader())
    sys.stdout.flush()
    lines = file.getvalue().decode().splitlines()
    assert [len(seen) for seen in watch.lines] == [0, 1, 2]
    assert [line[:4] for line in lines] == ["[4] "] * 3
    found = [LINE.fullmatch(line.removeprefix("[4] ")) for line in lines]
    assert all(found), lines
    assert [match[1] for match in found] == ["1", "2", "3"]
    assert [match[2] is not None for match in found] == [False, True, False]  # none of another epoch


@pytest.mark.parametrize("width", [80, 100])
def test_the_bars_are_a_line_each(tmp_path, width):
    screen = io.StringIO()
    bars = Bars(console_kwargs={"file": screen, "force_terminal": True, "width": width, "color_system": None})
    try:
        run = trainer(tmp_path, max_epochs=12, num_sanity_val_steps=0, enable_progress_bar=True, callbacks=[bars])
        run.fit(classifier(), loader(), loader())
    finally:
        rich.reconfigure()
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "\n", screen.getvalue()).replace("\r", "\n")
    lines = [line.rstrip() for line in shown.split("\n") if line.strip()]
    assert any(line.startswith("Epoch 12/12 ") and "loss: " in line for line in lines)
    assert "Epoch 0" not in shown
    assert {line.split()[0] for line in lines} <= {"Epoch", "Validation"}  # a metric on a line of its own would be here
    assert max(map(len, lines)) <= width


def test_every_logger_counts_epochs_from_one():
    from lightning_modules.loggers import csv as metrics_csv
    from lightning_modules.loggers import mlflow, tensorboard, wandb

    classes = {"csv": metrics_csv.MetricsCSV, "mlflow": mlflow.Metrics, "tensorboard": tensorboard.Events}
    classes["wandb"] = wandb.Metrics
    assert set(classes) == set(LOGGERS.names())
    assert all(issubclass(each, CountedFromOne) for each in classes.values())


def test_one_number_for_an_epoch_everywhere(cli, tmp_path, summary_of):
    few = [argument for argument in SMALL if "max_epochs" not in argument and "progress" not in argument]
    outcome = cli(*few, "trainer.max_epochs=2", "backbone.frozen=1", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("epoch "))
    assert lines[first - 1] in (f"run directory {tmp_path / 'run'}", "run directory run")
    assert [line.split()[1] for line in lines if line.startswith("epoch ")] == ["1/2", "2/2"]
    assert "━" not in outcome.out + outcome.err  # no terminal, no bars
    summary = summary_of(tmp_path / "run")
    with (tmp_path / "run/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["epoch"]]
    validated = {int(row["epoch"]): float(row["val/acc1"]) for row in rows if row["val/acc1"]}
    assert list(validated) == [1, 2]
    assert {int(row["epoch"]) for row in rows if row["test/acc1"]} == {2}
    best = summary["best/epoch"]
    assert summary["best/val/acc1"] == pytest.approx(validated[best])
    assert torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)["epoch"] == best - 1  # Lightning's own
    assert re.search(rf"best epoch +{best}\b", outcome.out)
    assert cli("mode=report", "path=run", "hydra.run.dir=report").code == 0
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    weights = sum(
        value.numel() for name, value in state.items() if "running_" not in name and "num_batches" not in name
    )
    assert summary["params"] == weights > summary["params_trainable"] > 0
    assert f"{summary['params']:,d}, of them {summary['params_trainable']:,d} trainable" in outcome.out
    assert json.loads((tmp_path / "report/summary.json").read_text())["report/runs"] == 1
