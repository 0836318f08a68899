"""The same images as files of a folder and from shards, loaded in turns."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from datamodules.base import ImageDataModule
from datamodules.datasets import create_datamodule
from datamodules.shards.writing import write_shards

PROCESSES = (0, 2)
BATCH = 10
TURNS = 4  # epochs of each way in a round


def prepare(files: list[Path], folder: Path) -> tuple[Path, Path]:
    """A folder of two classes with the images, to train on, and shards of it."""
    root, shards = folder / "folder", folder / "shards"
    for part, chosen in (("train", files), ("test", files[:2])):
        for number, file in enumerate(chosen):
            target = root / part / "ab"[number % 2] / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    data = create_datamodule("folder", root=str(root), check=False)
    data.setup()
    write_shards(data, "folder", shards, max(len(files) // 4, 1), seed=0, verify=False)
    return root, shards


def measure(root: Path, shards: Path, processes: int, rounds: int) -> dict[str, Any]:
    """Images per second of both ways, with so many loading processes; epoch by epoch in turns, medians over all."""
    options = {"batch_size": BATCH, "num_workers": processes}
    ways = {
        "folder": create_datamodule("folder", root=str(root), check=False, **options),
        "shards": create_datamodule("webdataset", urls=str(shards), **options),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rates = _rates(ways, 1 + TURNS * rounds)
    finally:
        torch.set_num_threads(threads)
    medians = {way: statistics.median(each[1:]) for way, each in rates.items()}  # the first epoch warms up
    return {"processes": processes, "epochs": TURNS * rounds, "images_per_second": medians}


def _rates(ways: dict[str, ImageDataModule], epochs: int) -> dict[str, list[float]]:
    loaders: dict[str, Any] = {}
    for way, data in ways.items():
        data.setup()
        loaders[way] = data.train_dataloader()
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for epoch in range(epochs):
        for way, loader in loaders.items():
            loader.sampler.set_epoch(epoch)
            start = time.perf_counter()
            images = sum(len(labels) for _, labels in loader)
            rates[way].append(images / (time.perf_counter() - start))
    return rates
