"""A loader of training batches that a checkpoint written inside an epoch can put back where it was."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

from lightning_fabric.utilities.seed import pl_worker_init_function
from torch.utils.data import DataLoader

from datamodules.reading import Board
from datamodules.sampler import EpochSampler
from datamodules.signals import obey_parent, shielded
from gcp.errors import DataError, GCPError


def process_options(processes: int) -> dict[str, Any]:
    """Arguments for a loader with that many loading processes, which note what they are reading."""
    return {"num_workers": processes, "worker_init_fn": partial(_begin, Board(processes)) if processes else None}


def _begin(board: Board, number: int) -> None:
    obey_parent()
    board.enter(number)
    if int(os.environ.get("PL_SEED_WORKERS", 0)):  # Lightning would have this called where nothing else is
        pl_worker_init_function(number)


class ImageLoader(DataLoader[Any]):
    """A ``DataLoader`` that hands on an error of a loading process in its own sentence, without the traceback there."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch's is private
        try:
            with shielded():
                batches = super().__iter__()
            yield from batches
        except GCPError as error:
            kind = type(error)
            raise kind(str(error).rpartition(f"{kind.__module__}.{kind.__qualname__}: ")[2].strip()) from None


class ResumableLoader(ImageLoader):
    """An `ImageLoader` whose state is its sampler's epoch and the number of batches handed out in it.

    Where the order depends on more than seed and epoch, as that of streams does, the sampler's ``layout`` is part of
    the state, and going on inside an epoch with another one is refused.

    Lightning stores the state in checkpoints and gives it back in a resumed run. If that run continues the same epoch,
    training goes on with the batch that was due; if it begins the next epoch, nothing is skipped. Batches seen already
    are left out of the sampler's order, which costs nothing; behind another sampler (Lightning's own, on several
    devices) they are loaded and dropped.

    Iteration starts at the first ``next``, not at ``iter``: Lightning calls ``iter`` before it tells the sampler the
    epoch of a resumed run, and loading processes would fetch images in the order of epoch 0.
    """

    _state: dict[str, int] | None = None
    _restored: dict[str, int] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch's is private
        epoch = getattr(self.sampler, "epoch", -1)  # -1: Lightning put a sequential sampler in, for overfit_batches
        restored, self._restored = self._restored, None
        skip = restored["batches"] if restored and restored["epoch"] == epoch >= 0 else 0
        layout = getattr(self.sampler, "layout", {})
        if skip:
            assert restored is not None
            _refuse_other_layout(epoch, restored, layout)
        self._state = {"epoch": epoch, "batches": skip, **layout}
        dropped = skip
        if skip and isinstance(self.sampler, EpochSampler):
            self.sampler.skip, dropped = skip * (self.batch_size or 1), 0
        for batch in islice(super().__iter__(), dropped, None):
            self._state["batches"] += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """``{"epoch": epoch of the sampler, "batches": number handed out in it}`` and its layout, plain integers."""
        return dict(self._state or self._restored or {"epoch": -1, "batches": 0})

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration go on where ``state`` was taken, if it is of the same epoch."""
        self._state, self._restored = None, dict(state)


# What the order of a stream depends on, as the sentence names it, and what sets it.
LAYOUT = {
    "devices": ("device(s)", "trainer.devices times trainer.num_nodes"),
    "lanes": ("loading process(es) of each device", "data.num_workers"),
    "batch_size": ("images in a batch", "data.batch_size"),
    "shuffle_buffer": ("images in the shuffle buffer", "data.shuffle_buffer"),
    "images": ("training images", "the dataset's size"),
}


def _refuse_other_layout(epoch: int, restored: Mapping[str, int], layout: Mapping[str, int]) -> None:
    for key, value in layout.items():
        before = restored.get(key)
        if before != value:
            what, option = LAYOUT[key]
            raise DataError(
                f"the run was stopped inside epoch {epoch + 1} with {before} {what}, and which images of the stream "
                f"are left depends on that; it goes on with {value}: make {option} {before} again until that epoch is "
                "over"
            )
