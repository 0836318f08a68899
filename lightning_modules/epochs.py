"""How epochs are counted: from 1, in every line, file and message; Lightning and its checkpoints count from 0.

Free of torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shown(epoch: int) -> int:
    """The number of Lightning's ``epoch`` as people see it."""
    return epoch + 1


class CountedFromOne:
    """Of a logger: writes the metrics of the first epoch as those of epoch 1.

    A test is after an epoch: Lightning gives it the number of those that are done, which is right as it is.
    """

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write ``metrics``, with the epoch counted from 1."""
        counted = dict(metrics)
        if "epoch" in counted and not any(name.startswith("test") for name in counted):
            counted["epoch"] = shown(int(counted["epoch"]))
        super().log_metrics(counted, step)  # type: ignore[misc]  # of the logger beside it
