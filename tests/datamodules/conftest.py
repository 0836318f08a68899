"""A dataset of someone else's: blank images whose labels are their numbers, so that labels tell the order."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch.utils.data import TensorDataset

from datamodules.base import ImageDataModule
from datamodules.datasets import DATASETS, DatasetInfo, register_dataset
from datamodules.options import DataOptions
from datamodules.splits import Splits
from gcp.options import option


@dataclass(frozen=True)
class NumberedOptions(DataOptions):
    images: int = option(20, "training images", minimum=0)


class NumberedDataModule(ImageDataModule):
    options: NumberedOptions
    made = 0

    @property
    def class_names(self) -> list[str]:
        return [str(number) for number in range(self.options.images)]

    def make_splits(self) -> Splits:
        self.made += 1
        return Splits(
            *(
                TensorDataset(torch.zeros(n, 3, 1, 1), torch.arange(n) % max(self.options.images, 1))
                for n in (self.options.images, 7, 5)
            )
        )


@pytest.fixture
def numbered():
    """Makes the data module from options; not set up."""
    return lambda **options: NumberedDataModule(NumberedOptions(**options))


@pytest.fixture
def own_dataset(monkeypatch) -> DatasetInfo:
    """The dataset registered as "numbered" for one test."""
    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))
    return register_dataset(DatasetInfo("numbered", NumberedOptions, NumberedDataModule, 20, "blank images"))
