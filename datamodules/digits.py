"""Handwritten digits that come with scikit-learn: real images without a download."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from datamodules.base import ImageDataModule
from datamodules.checks import check_memory
from datamodules.preprocessing import Preprocessing
from datamodules.splits import Splits, stratified_split

FRACTIONS = (0.6, 0.2, 0.2)
INK = 16  # the largest grey value


class DigitsDataModule(ImageDataModule):
    """The 1,797 digits of ``sklearn.datasets.load_digits``, 8x8 grey values, enlarged bilinearly to ``image_size``.

    Training, validation and test hold 60, 20 and 20 % of every class; the division is fixed and no seed changes it.
    Grey values are normalised by mean and standard deviation of the enlarged training part; the three channels of an
    image are equal.
    """

    @property
    def class_names(self) -> list[str]:
        """The digits "0" to "9"."""
        return [str(digit) for digit in range(10)]

    @property
    def preprocessing(self) -> Preprocessing:
        """White ink on black, like the digits; constants of the training part."""
        mean, std = self._constants
        size, names = self.options.image_size, self.class_names
        return Preprocessing(size, names, [mean / INK] * 3, [std / INK] * 3, fractions=True)

    def make_splits(self) -> Splits:
        """Enlarge, divide and normalise; the three channels share one plane of memory."""
        digits = load_digits()
        size = self.options.image_size
        check_memory(len(digits.images), 1, size)
        grey = torch.from_numpy(digits.images).float()[:, None]  # (1797, 1, 8, 8), values 0 to 16
        grey = F.interpolate(grey, size=(size, size), mode="bilinear", align_corners=False)
        labels = torch.from_numpy(digits.target.astype(np.int64))
        parts = [torch.from_numpy(part) for part in stratified_split(digits.target, FRACTIONS)]
        std, mean = torch.std_mean(grey[parts[0]])
        self._constants = (mean.item(), std.item())
        grey = (grey - mean) / std
        return Splits(*(TensorDataset(grey[part].expand(-1, 3, -1, -1), labels[part]) for part in parts))
