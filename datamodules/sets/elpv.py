"""Solar cells under electroluminescence (Deitsch et al., Solar Energy 2019, arXiv 1807.02894).

The images come with the package elpv-dataset, under CC-BY-NC-SA-4.0. They have no official division into parts: the one
here is ours.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from datamodules.files import FileDataModule, Listing
from datamodules.lists import lines, parsing
from datamodules.location import Layout
from datamodules.official import Official
from datamodules.options import ElpvOptions
from datamodules.records import Record
from datamodules.splits import stratified_split

PACKAGE, LIST = "elpv_dataset", "labels.csv"
CELLS = ("mono", "poly")  # one crystal or many
LEVELS = ("0", "1/3", "2/3", "1")  # probability of a defect, by experts
COUNTS = (588, 920, 117, 178, 56, 50, 313, 402)  # images of each stratum: level 0 mono, level 0 poly, level 1/3 ...
CLASSES = {"defect": ("intact", "defective"), "level": LEVELS, "cell": CELLS}


def class_of(stratum: np.ndarray, target: str) -> np.ndarray:
    """Labels (N,) of strata (N,), which are ``2 level + cell``; defective is what has a probability above a half."""
    level, cell = np.divmod(stratum, len(CELLS))
    labels: np.ndarray = {"defect": (level >= 2).astype(np.int64), "level": level, "cell": cell}[target]
    return labels


class ElpvDataModule(FileDataModule):
    """2,624 grey images of 300 x 300 pixels, divided by level and kind of cell together, so alike for every target.

    Cells of one module may lie in several parts: the published list does not say which module a cell is from.
    """

    options: ElpvOptions
    name = "elpv"
    layout = Layout(markers=(("images", LIST),), source="the package elpv-dataset")

    @property
    def official(self) -> Official:  # type: ignore[override]  # a constant of the other datasets
        """The numbers that follow from those of the strata."""
        train, val, test = map(len, self._parts(np.repeat(np.arange(len(COUNTS)), COUNTS)))
        return Official(len(CLASSES[self.options.target]), train=train, test=test, val=val)

    def root(self) -> Path:
        """The installed package, unless another place is said."""
        found = find_spec(PACKAGE)
        places = [] if found is None else list(found.submodule_search_locations or ())
        return self.chosen_root(
            Path(places[0], "data") if places else None,
            "install the extra elpv (pip install '.[elpv]'), or set data.root",
        )

    def read(self, root: Path) -> Listing:
        """Lines "images/cell0001.png  PROBABILITY  mono"."""
        file = root / LIST
        paths, strata = [], []
        with parsing(file):
            for line in lines(file):
                path, probability, cell = line.split()
                level = round(3 * float(probability))
                if abs(level / 3 - float(probability)) > 1e-6 or not 0 <= level < len(LEVELS):
                    raise ValueError(f"the probability {probability} of {path}")
                paths.append(root / path)
                strata.append(len(CELLS) * level + CELLS.index(cell))
        stratum = np.array(strata, dtype=np.int64)
        labels = class_of(stratum, self.options.target).tolist()
        train, val, test = (
            [Record(paths[position], labels[position]) for position in part] for part in self._parts(stratum)
        )
        return Listing(list(CLASSES[self.options.target]), train, test, val)

    def describe(self) -> str:
        """Classes and sizes, and that the division into parts is ours."""
        return f"{super().describe()}; divided by this project, data.split_seed={self.options.split_seed}"

    def _parts(self, stratum: np.ndarray) -> tuple[np.ndarray, ...]:
        """Positions for training, validation and test."""
        val, test = self.options.val_fraction, self.options.test_fraction
        return stratified_split(stratum, (1 - val - test, val, test), self.options.split_seed)
