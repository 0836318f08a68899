"""A plugin: the digits, but reading training image number KILL_AT kills the process of rank KILL_RANK, really."""

from __future__ import annotations

import os
import signal
from typing import Any

from torch.utils.data import Dataset

from datamodules.datasets import DatasetInfo, list_datasets, register_dataset
from datamodules.digits import DigitsDataModule
from datamodules.options import DigitsOptions
from datamodules.splits import Splits


class Fragile(Dataset[Any]):
    def __init__(self, source: Any) -> None:
        self.source = source
        self.reads = 0

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, position: int) -> Any:
        self.reads += 1
        here = os.environ.get("KILL_RANK", "0") == os.environ.get("RANK", "0")
        if here and self.reads == int(os.environ.get("KILL_AT", 0)):
            os.kill(os.getpid(), getattr(signal, os.environ.get("KILL_WITH", "SIGKILL")))
        return self.source[position]


class FragileDigits(DigitsDataModule):
    def make_splits(self) -> Splits:
        splits = super().make_splits()
        return splits._replace(train=Fragile(splits.train))


if "fragile" not in list_datasets():  # imported again by the next run in one process
    register_dataset(DatasetInfo("fragile", DigitsOptions, FragileDigits, 10, "digits that kill"))
