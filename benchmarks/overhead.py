"""What ``python run.py`` costs beyond a bare loop of torch, step by step in one process."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.training import train

WARM_UP = 3  # steps that are not counted


class BareLoop:
    """The shortest loop that trains: torch's own loader, nothing logged, nothing counted.

    Network, loss, images, batch size, clipping of gradients and optimizer, weight decay included, are those of a run.
    """

    def __init__(self, trainer: pl.Trainer, module: Any) -> None:
        # Together, so that the copied optimizer holds the copied weights, in the same groups.
        parts = (module.model, module.training_loss, trainer.optimizers[0])
        self.network, self.loss, self.optimizer = copy.deepcopy(parts)
        self.clip = trainer.gradient_clip_val
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.loader = DataLoader(data.splits.train, data.options.batch_size, shuffle=True, drop_last=True)
        self.batches = self._forever()

    def step(self) -> None:
        """Load a batch and learn from it."""
        images, labels = next(self.batches)
        self.optimizer.zero_grad()
        self.loss(self.network(images), labels).backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()

    def _forever(self) -> Iterator[Any]:
        while True:
            yield from self.loader


class InTurns(Callback):
    """After each step of the run a step of the bare loop; keeps the seconds of both.

    A step of the run is all that happens between two steps of the bare loop: loading, training, metrics, logging, every
    callback, the progress bar.
    """

    def __init__(self) -> None:
        self.run: list[float] = []
        self.bare: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the network, before it has learnt anything."""
        self.loop = BareLoop(trainer, pl_module)
        self.since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The bare loop's turn."""
        start = time.perf_counter()
        self.loop.step()
        end = time.perf_counter()
        if batch_idx >= WARM_UP:
            self.run.append(start - self.since)
            self.bare.append(end - start)
        self.since = end


def measure(overrides: Sequence[str], steps: int) -> dict[str, Any]:
    """Steps per second of ``python run.py`` with ``overrides`` and of the bare loop.

    Over all steps together: what happens only now and then, such as writing the log, counts. The share of the medians
    stands beside it, which other work on the machine disturbs less.
    """
    turns = InTurns()
    run, _ = train(overrides, steps + WARM_UP, [turns])
    rates = {"run.py": len(turns.run) / sum(turns.run), "bare": len(turns.bare) / sum(turns.bare)}
    return {
        "overrides": list(overrides),
        "network": run.backbone,
        "image_size": int(run.config["data"]["image_size"]),
        "batch": int(run.config["data"]["batch_size"]),
        "steps": len(turns.run),
        "steps_per_second": rates,
        "share": rates["run.py"] / rates["bare"],
        "median_share": statistics.median(turns.bare) / statistics.median(turns.run),
    }
