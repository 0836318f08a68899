"""Shards as a stream: each lane reads a stretch of them, in an order of shards that changes with the epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.decoding import ENDINGS
from datamodules.lanes import Lane
from datamodules.seeding import private_generator
from datamodules.shards.index import Index
from datamodules.shards.members import REMEDY, Files, samples_in
from datamodules.streams import Sample
from gcp.errors import DataError, few

LABEL, ARRAY = "cls", "npy"
STALE = "copy or write the shard again, or its index"
IMAGES = tuple(ending.removeprefix(".") for ending in ENDINGS)


class Stretch(NamedTuple):
    """Samples that a lane reads from one shard.

    Attributes:
        shard: number of the shard in the index.
        places: of the samples in it, increasing.
    """

    shard: int
    places: list[int]


class ShardSource:
    """The images of an index.

    In training the shards are permuted, and the sequence of all their images is begun at a random one and goes round,
    so that what the last incomplete batches leave out are other images in each epoch; both by (seed, epoch). A lane is
    a contiguous range of that, which may begin and end in the middle of shards.

    Args:
        index: the shards.
        seed: of the order in training.
    """

    def __init__(self, index: Index, seed: int) -> None:
        self.index = index
        self.seed = seed
        self.sizes = np.array([shard.images for shard in index.shards], dtype=np.int64)
        self.first = np.concatenate(([0], np.cumsum(self.sizes)))  # position of each shard's first image, and the end

    def __len__(self) -> int:
        return int(self.first[-1])

    def read(self, lane: Lane, wanted: Sequence[int]) -> Iterator[Sample]:
        """The samples at the places ``wanted`` of ``lane``, which increase."""
        for stretch in self.stretches(lane, wanted):
            yield from self._read(stretch)

    def stretches(self, lane: Lane, wanted: Sequence[int]) -> Iterator[Stretch]:
        """What to read from which shard, one after the other."""
        order, begin = np.arange(len(self.sizes)), 0
        if lane.training:
            generator = private_generator(self.seed, lane.epoch)
            order = torch.randperm(len(order), generator=generator).numpy()
            begin = int(torch.randint(len(self), (1,), generator=generator))
        sequence = (begin + lane.start + np.asarray(wanted, dtype=np.int64)) % len(self)
        ends = np.cumsum(self.sizes[order])
        slots = np.searchsorted(ends, sequence, side="right")
        places = sequence - (ends - self.sizes[order])[slots]
        breaks = np.flatnonzero((np.diff(slots) != 0) | (np.diff(places) < 0)) + 1
        for part in np.split(np.arange(len(places)), breaks):
            if len(part):
                yield Stretch(int(order[slots[part[0]]]), places[part].tolist())

    def _read(self, stretch: Stretch) -> Iterator[Sample]:
        shard, places = self.index.shards[stretch.shard], stretch.places
        wanted, last = set(places), places[-1]
        seen = -1

        def chosen(place: int) -> bool:
            nonlocal seen
            seen = place
            if place == shard.images:
                raise DataError(
                    f"the shard {shard.url} holds more than the {shard.images} images of its index; {STALE}"
                )
            return place in wanted

        until = last + 1 if last + 1 < shard.images else None  # at its end one look further: whether there are more
        for place, key, files in samples_in(shard.url, chosen, until):
            name = f"{key} in {shard.url}"
            label = label_of(files, name)
            yield Sample(self._content(files, name), label, int(self.first[stretch.shard]) + place, name)
        if seen < last:
            raise DataError(
                f"the shard {shard.url} ends after {seen + 1} of the {shard.images} images of its index; {STALE}"
            )

    def _content(self, files: Files, name: str) -> bytes | Tensor:
        finished = self.index.finished
        if finished is None:
            return picture_of(files, name)[1]
        if ARRAY not in files:
            raise DataError(f"{name} has no file that ends in .{ARRAY}, and the index says so; {REMEDY}")
        try:
            array = np.load(BytesIO(files[ARRAY]), allow_pickle=False)
        except (ValueError, EOFError, OSError):
            raise DataError(f"the array of {name} is damaged; {REMEDY}") from None
        size = finished.image_size
        if array.dtype != np.float32 or array.shape != (3, size, size):
            raise DataError(
                f"the array of {name} is {array.dtype} {array.shape}, expected float32 (3, {size}, {size}); {REMEDY}"
            )
        return torch.from_numpy(array)


def label_of(files: Files, name: str) -> int:
    """The label of a sample. Raises DataError if it has none, or one that is no number."""
    if LABEL not in files:
        has = ", ".join(f".{ending}" for ending in files)
        raise DataError(f"{name} has no .{LABEL} with its label (it has {has}); write the shards with labels")
    text = files[LABEL].strip()
    if not text.isdigit() or len(text) > 9:
        raise DataError(f"the label of {name} is {text[:20]!r}, no whole number from 0; {REMEDY}")
    return int(text)


def picture_of(files: Files, name: str) -> tuple[str, bytes]:
    """Ending and contents of a sample's image. Raises DataError if it has none or several."""
    found = [ending for ending in IMAGES if ending in files]
    if len(found) != 1:
        has = few([f".{ending}" for ending in (found or files)])
        what = "several images" if found else "no image"
        raise DataError(f"{name} has {what} ({has}); give each sample one of {', '.join(IMAGES)}")
    return found[0], files[found[0]]
