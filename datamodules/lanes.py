"""Which images of a stream each device and each of its loading processes gives in an epoch.

What one loading process of one device gives is a lane. Batch b of a device comes from its lane b modulo the number of
lanes, which is the order torch's loader asks its processes in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from datamodules.sampler import EpochSampler
from datamodules.seeding import private_generator


class Lane(NamedTuple):
    """What a loading process of a device gives in an epoch; places in it are 0 .. size - 1.

    Attributes:
        length: images of the part.
        batch_size: images of a batch.
        training: whether batches are whole and devices have equally many, so that some images are left out; in an
            evaluation every image is in one lane.
        epoch: counted from 0.
        rank: the device.
        devices: number of devices.
        number: which of the device's lanes.
        lanes: number of lanes of a device.
    """

    length: int
    batch_size: int
    training: bool
    epoch: int = 0
    rank: int = 0
    devices: int = 1
    number: int = 0
    lanes: int = 1

    @property
    def images(self) -> int:
        """Images of the device, in all of its lanes."""
        share = self.length // self.devices
        if self.training:
            return share // self._batch * self._batch
        return share + (self.rank < self.length % self.devices)

    @property
    def size(self) -> int:
        """Images of the lane."""
        rounds, rest = divmod(self.images, self._batch * self.lanes)
        return rounds * self._batch + min(max(rest - self.number * self._batch, 0), self._batch)

    @property
    def start(self) -> int:
        """Where the lane begins, if each has a contiguous range of all images: device after device, lane after lane."""
        before = sum(self._replace(rank=rank).images for rank in range(self.rank))
        return before + sum(self._replace(number=number).size for number in range(self.number))

    def dealt(self, place: int) -> int:
        """Where the image at ``place`` is, if images are dealt out to the devices one by one.

        For a stream that cannot be entered in the middle. The places of all lanes of all devices are different numbers
        in 0 .. length - 1, and those of a lane increase.
        """
        batch, within = divmod(place, self._batch)
        return ((batch * self.lanes + self.number) * self._batch + within) * self.devices + self.rank

    @property
    def _batch(self) -> int:
        """A device that has fewer training images than a batch takes gives them as one batch."""
        return max(min(self.batch_size, self.length // self.devices), 1) if self.training else self.batch_size


class Turn(NamedTuple):
    """The image that comes after ``number`` others of its lane: what a `LaneSampler` asks a dataset for."""

    lane: Lane
    number: int


def turns(lane: Lane, skip: int = 0) -> Iterator[Turn]:
    """The images of the device of ``lane`` in the order they are asked for, without the first ``skip``."""
    lanes = [lane._replace(number=number) for number in range(lane.lanes)]
    size = lane._batch
    for asked in range(skip, lane.images):
        batch, within = divmod(asked, size)
        yield Turn(lanes[batch % lane.lanes], batch // lane.lanes * size + within)


class LaneSampler(EpochSampler):
    """Asks for the images of a training stream, batch after batch from lane after lane.

    Args:
        lane: any lane of the device.
        seed: seed of the run, non-negative.
        buffer: images each lane draws the next one from.

    Attributes:
        layout: all that the order depends on beside seed and epoch, which a checkpoint inside an epoch remembers.
    """

    def __init__(self, lane: Lane, seed: int, buffer: int) -> None:
        super().__init__(lane.length, seed, lane.epoch, lane.rank, lane.devices)
        self.lane = lane
        self.layout = {
            "devices": lane.devices,
            "lanes": lane.lanes,
            "batch_size": lane.batch_size,
            "shuffle_buffer": buffer,
            "images": lane.length,
        }

    def __iter__(self) -> Iterator[Turn]:  # type: ignore[override]  # numbers there
        skip, self.skip = self.skip, 0
        return turns(self.lane._replace(epoch=self.epoch), skip)

    def __len__(self) -> int:
        return self.lane.images


class LaneShare(Sampler[Turn]):
    """Asks for one device's share of an evaluation: every image is visited on one device, once.

    Args:
        lane: any lane of the device.
    """

    def __init__(self, lane: Lane) -> None:
        self.lane = lane

    def __iter__(self) -> Iterator[Turn]:
        return turns(self.lane)

    def __len__(self) -> int:
        return self.lane.images


def buffered_order(lane: Lane, buffer: int, seed: int) -> np.ndarray:
    """The places of a lane as they come out of a buffer that holds ``buffer`` images and gives one of them at random.

    A pure function of its arguments. The image at place p comes after at least ``p - buffer + 1`` others.

    Returns:
        (lane.size,) int64, a permutation.
    """
    generator = private_generator(seed, lane.epoch, lane.rank, lane.number)
    held = list(range(min(buffer, lane.size)))
    order = []
    draws = torch.randint(max(len(held), 1), (lane.size - len(held),), generator=generator).tolist()
    for place, drawn in enumerate(draws, len(held)):
        order.append(held[drawn])
        held[drawn] = place
    rest = torch.randperm(len(held), generator=generator).tolist()
    return np.array([*order, *(held[drawn] for drawn in rest)], dtype=np.int64)
