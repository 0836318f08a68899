"""The order of the training images, as a pure function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from datamodules.seeding import private_generator


class EpochPosition(int):
    """The position of an image in its dataset, and the epoch it is loaded in, on which its augmentation depends.

    Samplers give a dataset whole numbers, and loading processes get them pickled: this is one, with an attribute.
    """

    epoch: int

    def __new__(cls, position: int, epoch: int) -> EpochPosition:
        """The number ``position``, with ``epoch`` as its attribute."""
        number = super().__new__(cls, position)
        number.epoch = epoch
        return number

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]  # int's own has no epoch
        return int(self), self.epoch


class EpochSampler(Sampler[int]):
    """Visits every image once, in an order that depends on (length, seed, epoch) and on nothing else.

    A run that is resumed, or that drew other random numbers before, therefore sees the same images in the same order.
    Lightning calls ``set_epoch`` before each training epoch. Iterating again without ``set_epoch`` repeats the order.

    With several replicas each visits an equal share of the same order, and up to ``replicas - 1`` images at its end are
    left out, other ones in each epoch.

    Args:
        length: number of images.
        seed: seed of the run, non-negative.
        epoch: epoch to begin with, counted from 0.
        rank: which of the shares, from 0.
        replicas: number of shares.
    """

    def __init__(self, length: int, seed: int = 0, epoch: int = 0, rank: int = 0, replicas: int = 1) -> None:
        self.length = length
        self.rank = rank
        self.replicas = replicas
        self.seed = seed
        self.epoch = epoch
        self.skip = 0  # images of the next iteration that were visited already, in a run that is resumed

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration follows."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.length, generator=private_generator(self.seed, self.epoch)).tolist()
        skip, self.skip = self.skip, 0
        share = order[self.rank :: self.replicas][: len(self)]
        yield from (EpochPosition(position, self.epoch) for position in share[skip:])

    def __len__(self) -> int:
        return self.length // self.replicas


class ShareSampler(Sampler[int]):
    """One device's share of an evaluation: every image is visited on one device, once.

    Shares may differ by one image, where torch's DistributedSampler would visit some images twice to make them equal,
    which changes the metrics.

    Args:
        length: number of images, at least ``replicas``.
        rank: which of the shares, from 0.
        replicas: number of shares.
    """

    def __init__(self, length: int, rank: int, replicas: int) -> None:
        self.positions = range(rank, length, replicas)

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions)

    def __len__(self) -> int:
        return len(self.positions)
