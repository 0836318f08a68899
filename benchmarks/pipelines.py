"""From JPEG files to training images: the classical way (PIL throughout) and this project's, timed in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms as classical

from datamodules.augmented import AugmentedImages, FileSource
from datamodules.records import Record
from datamodules.sampler import EpochPosition
from datamodules.transforms.building import create_transform
from gcp.backbones.imagenet import MEAN, STD

SIZE = (500, 375)  # width and height of most of ImageNet's images
BACKENDS = ("torchvision", "pil")

Load = Callable[[int], Tensor]


def fabricate(folder: Path, count: int) -> list[Path]:
    """JPEGs in ``folder`` that take about as many bytes as photographs: smooth colour with noise."""
    random = np.random.default_rng(0)
    files = []
    for position in range(count):
        coarse = random.uniform(0, 255, (12, 16, 3)).astype(np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC), dtype=float)
        noisy = (smooth + random.normal(0, 15, smooth.shape)).clip(0, 255).astype(np.uint8)
        files.append(folder / f"{position}.jpg")
        Image.fromarray(noisy).save(files[-1], quality=90)
    return files


def pipelines(files: list[Path], name: str) -> dict[str, Load]:
    """Every way to the image at a position as transform ``name`` trains on it, by name."""
    ways: dict[str, Load] = {"classical": _classical(files, name)}
    for backend in BACKENDS:
        source = FileSource([Record(file, 0) for file in files], backend)
        images = AugmentedImages(source, create_transform(name, "train"))
        ways[f"this project, {backend}"] = _first_epoch(images)
    return ways


def _first_epoch(images: AugmentedImages) -> Load:
    return lambda position: images[EpochPosition(position, 0)][0]


def _classical(files: list[Path], name: str) -> Load:
    """As in the examples of torchvision: transforms of the first kind on PIL images."""
    geometry = {
        "imagenet224": [classical.RandomResizedCrop(224)],
        "cub448": [classical.Resize(448), classical.CenterCrop(448)],
        "fgvc448": [classical.Resize((512, 512)), classical.CenterCrop(448)],
    }[name]
    ending = [classical.RandomHorizontalFlip(), classical.ToTensor(), classical.Normalize(MEAN, STD)]
    transform = classical.Compose([*geometry, *ending])

    def load(position: int) -> Tensor:
        with Image.open(files[position]) as image:
            loaded: Tensor = transform(image.convert("RGB"))
        return loaded

    return load


def measure(files: list[Path], name: str, rounds: int) -> dict[str, Any]:
    """Images per second, on one core, of every way; they take turns at each image. Medians over all images."""
    ways = pipelines(files, name)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for turn in range(rounds + 1):
            for position in range(len(files)):
                for way, load in ways.items():
                    start = time.perf_counter()
                    load(position)
                    if turn:  # the first round warms up
                        seconds[way].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    rates = {way: 1 / statistics.median(taken) for way, taken in seconds.items()}
    return {"transform": name, "images": len(files), "rounds": rounds, "images_per_second": rates}
