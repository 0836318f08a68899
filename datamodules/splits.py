"""Dividing a dataset into the parts for training, validation and test."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset


class Splits(NamedTuple):
    """The three parts of a dataset; each item is an (image, label) pair as ``ImageDataModule`` describes."""

    train: Dataset[Any]
    val: Dataset[Any]
    test: Dataset[Any]


def stratified_split(labels: np.ndarray, fractions: tuple[float, ...], seed: int = 0) -> tuple[np.ndarray, ...]:
    """Divide positions so that every part holds the same fraction of each class, up to rounding.

    The stream of ``numpy.random.RandomState`` is frozen by numpy's compatibility policy, so the parts stay the same
    over releases.

    Args:
        labels: (N,) class of each sample.
        fractions: share of each part; they add up to 1.
        seed: seed of the division.

    Returns:
        One ascending int64 array of positions per fraction; disjoint, and together all of ``range(N)``.
    """
    stream = np.random.RandomState(seed)
    bounds = np.cumsum(fractions)[:-1]
    per_class = [[np.array([], dtype=np.int64)] * len(fractions)]
    for label in np.unique(labels):
        members = stream.permutation(np.flatnonzero(labels == label))
        per_class.append(np.split(members, np.rint(bounds * len(members)).astype(int)))
    return tuple(np.sort(np.concatenate(part)) for part in zip(*per_class, strict=True))
