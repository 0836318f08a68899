"""A loader of training batches that a checkpoint written inside an epoch can put back where it was."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader


class ResumableLoader(DataLoader[Any]):
    """A ``DataLoader`` whose state is its sampler's epoch and the number of batches handed out in it.

    Lightning stores the state in checkpoints and gives it back in a resumed run. If that run continues the same epoch,
    the batches seen already are loaded and dropped, so that random numbers drawn while loading stay in step too, and
    training goes on with the batch that was due; if it begins the next epoch, nothing is skipped.

    Iteration starts at the first ``next``, not at ``iter``: Lightning calls ``iter`` before it tells the sampler the
    epoch of a resumed run, and loading processes would fetch images in the order of epoch 0.
    """

    _state: dict[str, int] | None = None
    _restored: dict[str, int] | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        epoch = getattr(self.sampler, "epoch", -1)  # -1: Lightning put a sequential sampler in, for overfit_batches
        restored, self._restored = self._restored, None
        skip = restored["batches"] if restored and restored["epoch"] == epoch >= 0 else 0
        self._state = {"epoch": epoch, "batches": skip}
        for batch in islice(super().__iter__(), skip, None):
            self._state["batches"] += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """``{"epoch": epoch of the sampler, "batches": number handed out in it}``, plain integers."""
        return dict(self._state or self._restored or {"epoch": -1, "batches": 0})

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration go on where ``state`` was taken, if it is of the same epoch."""
        self._state, self._restored = None, dict(state)
