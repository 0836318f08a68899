"""A run that is stopped anywhere, by anything, and resumed is the run that was not stopped, bit by bit."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

from lightning_modules.run.find_checkpoint import to_resume
from tests.conftest import ROOT
from tests.small import SMALL

EVERY = "callbacks.checkpoint_every_n_steps"
RUNS = {
    "plain": [],
    "workers": ["data.num_workers=2", f"{EVERY}=3"],
    "warm-up": ["schedule.warmup_steps=7", f"{EVERY}=3"],
    "averaged": [
        "method=dropcov",  # draws which channels to drop
        "training.ema_decay=0.8",
        "training.mixup=0.4",
        "trainer.accumulate_grad_batches=2",
        f"{EVERY}=1",
    ],
    "hybrid": ["method=taylor", "switch.to=pade", "switch.at=condition", "switch.condition=1e9", f"{EVERY}=3"],
    "conditioned": [
        *(f"training.{name}=true" for name in ("orthogonal_gradient", "optimal_lr", "orthogonal_weights")),
        *("backbone.whitening=first", "method=taylor", "method.reduced_channels=4", "callbacks.swa.from_epoch=2"),
        *("switch.to=pade", "switch.at=epoch", "switch.epoch=1", "trainer.accumulate_grad_batches=2", f"{EVERY}=1"),
    ],
    "first of two stages": ["second_stage.epochs=2", "second_stage.batch_size=8", "backbone.frozen=2"],
    "second of two stages": ["second_stage.epochs=3", "trainer.max_epochs=1", "backbone.frozen=2", f"{EVERY}=3"],
    "ddp_cpu": [
        *("trainer=ddp_cpu", "data.batch_size=8", f"{EVERY}=3"),
        *("method=dropcov", "training.class_weights=balanced", "backbone.whitening=first"),
    ],
    "shards": [
        *("trainer=ddp_cpu", "data.batch_size=8", "data.num_workers=3", f"{EVERY}=3"),
        *("dataset=webdataset", "data.urls=../shards/digits", "data.shuffle_buffer=50"),
    ],
}
# What makes the shards, in a folder beside those of the runs.
SHARDS = ["mode=shards", "data.image_size=16", "shards.folder=digits", "shards.images=200"]
COMMON = [
    *(argument for argument in SMALL if "max_epochs" not in argument and "limit_train" not in argument),
    "trainer.max_epochs=3",
    "trainer.limit_train_batches=4",
    "callbacks.spectrum_every_n_steps=null",
    "trainer.log_every_n_steps=1",
    "threads=1",
]
CODES = {"kill": -9, "SIGTERM": 143, "Ctrl-C": 130, "double Ctrl-C": 130}
POINTS = (
    "start",
    "mid-batch",
    "end of step",
    "end of last step",
    "checkpoint",
    "validation",
    "between",
    "test",
)
# The most telling cell, which went wrong once. The others are slow.
TELLING = [("first of two stages", "mid-batch", "kill")]
CELLS = [
    pytest.param(*cell, id="-".join(cell), marks=[] if cell in TELLING else pytest.mark.slow)
    for cell in product(RUNS, POINTS, CODES)
]


class Server:
    """The process whose forks are the runs; see `tests.kills.server`."""

    def __init__(self, log: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.kills.server"],
                cwd=ROOT,
                env=environment,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
            )

    def run(self, folder: Path, *arguments: str, trap: tuple[str, str, bool] | None = None) -> tuple[int, str]:
        """Exit code, and what was printed."""
        folder.mkdir(exist_ok=True)
        log = folder / "log"
        log.unlink(missing_ok=True)
        request = {"arguments": arguments, "folder": str(folder), "log": str(log), "trap": trap}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline()), log.read_text() if log.exists() else ""

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server") / "log")
    yield server
    server.close()


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
    """``whole(name)``: the directory of the run that was not stopped, done once."""
    done: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name == "shards" and name not in done:
            code, text = server.run(tmp_path_factory.mktemp("shards", numbered=False), *SHARDS)
            assert code == 0, text
        if name not in done:
            folder = tmp_path_factory.mktemp("whole")
            code, text = server.run(folder, *COMMON, *RUNS[name], "hydra.run.dir=run")
            assert code == 0, text
            done[name] = folder / "run"
        return done[name]

    return of


@pytest.mark.parametrize(("name", "point", "how"), CELLS)
def test_a_stopped_run_goes_on_exactly(server, whole, tmp_path, name, point, how):
    expected = whole(name)
    command = [*COMMON, *RUNS[name], "hydra.run.dir=run"]
    code, text = server.run(tmp_path, *command, trap=(point, how, name.startswith("second")))
    assert code == CODES[how], text
    run = tmp_path / "run"
    resumable = bool(to_resume(run))
    if how != "kill":
        summary = json.loads((run / "summary.json").read_text())
        assert summary["status"] == "interrupted"
        sentence = f"go on with: python run.py ckpt_path=last hydra.run.dir={run}"
        assert (sentence if resumable else "start again with the same command") in summary["error"]
        assert text.endswith(f"error: {summary['error']}\n")
        assert "Traceback" not in text
    code, text = server.run(tmp_path, *(["ckpt_path=last", "hydra.run.dir=run"] if resumable else command))
    assert code == 0, text
    same(expected, run)


def same(expected: Path, found: Path) -> None:
    """Equal weights, optimizer states, metrics of each epoch and results."""
    for stage in ("", *(["stage1"] if (expected / "stage1").exists() else [])):
        for file in ("last.ckpt", "best.ckpt"):
            first, second = (
                torch.load(each / stage / "checkpoints" / file, weights_only=True) for each in (expected, found)
            )
            for key in ("epoch", "global_step", "hyper_parameters", "lr_schedulers"):
                assert first[key] == second[key], (file, key)
            for key in ("state_dict", "optimizer_states", "current_model_state"):
                equal(first.get(key), second.get(key), (file, key))
        assert epoch_metrics(expected / stage) == epoch_metrics(found / stage)
        one, other = (json.loads((each / stage / "summary.json").read_text()) for each in (expected, found))
        for key in one:
            if key not in ("train_seconds", "images_per_second", "started", "ended"):
                assert one[key] == other[key], key


def equal(first, second, place) -> None:
    if isinstance(first, dict):
        assert first.keys() == second.keys(), place
        for key in first:
            equal(first[key], second[key], (*place, key))
    elif isinstance(first, list):
        assert len(first) == len(second), place
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            equal(one, other, (*place, index))
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), place
    else:
        assert first == second, place


def epoch_metrics(run: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv with averages over validation, training and test, without times."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = ("val/", "test/", "test_final/", "train/acc", "train/loss_epoch")
    kept = [{key: value for key, value in row.items() if key.startswith(wanted) and value} for row in rows]
    return [{**values, "step": row["step"]} for row, values in zip(rows, kept, strict=True) if values]
