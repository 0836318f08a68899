"""The data module of datasets made of files: found, read, checked, divided and transformed."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datamodules.augmented import AugmentedImages, FileSource, Source
from datamodules.base import ImageDataModule
from datamodules.location import Layout, chosen_root, locate
from datamodules.options import FileOptions
from datamodules.preprocessing import Preprocessing
from datamodules.records import Record, Records
from datamodules.splits import Splits, stratified_split
from datamodules.transforms.building import MEAN, STD, create_transform
from datamodules.transforms.names import TRANSFORMS
from gcp.errors import DataError


class Listing(NamedTuple):
    """What a dataset's own lists say.

    Attributes:
        class_names: names of the classes; the position is the label.
        train: images to train on.
        test: images to test on.
        val: images to validate on, where the dataset has such a part.
    """

    class_names: list[str]
    train: Sequence[Record]
    test: Sequence[Record]
    val: Sequence[Record] = ()


class FileDataModule(ImageDataModule):
    """A dataset of image files. A dataset is a subclass with ``name``, ``layout`` and ``read``.

    Without ``holdout``, validation is on the dataset's own validation part, and where it has none on the test part, as
    the papers do, whose best epoch is then chosen on test images. With it, that fraction of every class's training
    images is held out for validation instead, and not trained on.
    """

    options: FileOptions
    name: str
    layout: Layout

    @abstractmethod
    def read(self, root: Path) -> Listing:
        """Read the lists in ``root``, which has the layout."""

    @property
    def image_size(self) -> int:
        """That of the options, or else of the transform."""
        return self.options.image_size or TRANSFORMS.get(self.options.transform).image_size

    @property
    def class_names(self) -> list[str]:
        """As the dataset lists them. Raises DataError before ``setup``."""
        if not hasattr(self, "_class_names"):
            raise DataError(f"{type(self).__name__} has read no files yet; call setup() first")
        return self._class_names

    @property
    def preprocessing(self) -> Preprocessing:
        """The transform of the test part, one view."""
        resize = TRANSFORMS.get(self.options.transform).resized(self.image_size)
        sides = None if resize is None else [resize] if isinstance(resize, int) else list(resize)
        return Preprocessing(self.image_size, self.class_names, list(MEAN), list(STD), sides)

    def make_splits(self) -> Splits:
        """Find, read, check, divide. Raises DataError for everything that can be known before training."""
        options = self.options
        names, *lists = self.read(locate(chosen_root(self.name, options.root), self.layout, options.download))
        train, test, val = map(Records.of, lists)
        self.check(names, {"training": train, "test": test, "validation": val})
        self._class_names = names
        if options.holdout:
            train, val = held_out(train, options.holdout, options.holdout_seed)
        sources = {"train": train, "val": val if len(val) else test, "test": test}
        return Splits(**{part: self._images(self.source(records), part) for part, records in sources.items()})

    def check(self, class_names: list[str], parts: dict[str, Records]) -> None:
        """Raise DataError for lists and files that do not go together."""
        check_labels(class_names, parts)
        for part, records in parts.items():
            check_files(part, records)

    def source(self, records: Records) -> Source:
        """The images of ``records``."""
        return FileSource(records, self.options.decode_backend)

    def _images(self, source: Source, part: str) -> AugmentedImages:
        options = self.options
        transform = create_transform(options.transform, part, options.image_size, options.protocol)
        return AugmentedImages(source, transform, options.seed)


def held_out(records: Records, fraction: float, seed: int) -> tuple[Records, Records]:
    """Two parts of ``records``, the second with ``fraction`` of each class."""
    train, val = stratified_split(records.labels, (1 - fraction, fraction), seed)
    return records.select(train), records.select(val)


def check_labels(class_names: list[str], parts: dict[str, Records]) -> None:
    """Raise DataError for a label that is out of range, a class without training images or a single class."""
    classes = len(class_names)
    for part, records in parts.items():
        wrong = np.flatnonzero((records.labels < 0) | (records.labels >= classes))
        if len(wrong):
            path, label, _ = records[wrong[0]]
            raise DataError(
                f"the {part} list gives {path} the label {label}, counted from 0, and there are {classes} classes; "
                "restore the lists from the archive"
            )
    empty = sorted(set(range(classes)) - set(np.unique(parts["training"].labels).tolist()))
    if empty:
        names = ", ".join(class_names[label] for label in empty[:5]) + (", ..." if len(empty) > 5 else "")
        raise DataError(f"{len(empty)} of {classes} classes have no training image: {names}; restore them")
    if classes < 2:
        raise DataError(
            f"there is one class only, '{class_names[0]}', and nothing to tell it from; check data.root"
            if classes
            else "the lists are empty; restore them from the archive"
        )


def check_files(part: str, records: Records) -> None:
    """Raise DataError for images that are not there, by one look into each folder and not at each file."""
    there: dict[str, set[str]] = {}
    missing = []
    for path in records.paths():
        folder, name = os.path.split(path)
        if folder not in there:
            there[folder] = _files(folder)
        if name not in there[folder]:
            missing.append(path)
    if missing:
        named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise DataError(f"{len(missing)} of {len(records)} {part} images are not there: {named}; restore them")


def _files(folder: str) -> set[str]:
    if not os.path.isdir(folder):
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if not entry.is_symlink() or os.path.exists(entry.path)}


@contextmanager
def parsing(file: Path) -> Iterator[None]:
    """Make a DataError that names the list ``file`` of whatever its contents lead to."""
    try:
        yield
    except (KeyError, ValueError, IndexError, TypeError, OverflowError) as error:
        reason = f"unknown entry {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"the list {file} is not as it was published ({reason}); restore it from the archive") from None


def lines(file: Path) -> list[str]:
    """Lines of a list, without empty ones. Raises DataError if it cannot be read."""
    try:
        return [line.strip() for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list {file} cannot be read ({error}); restore it from the archive") from None


def by_id(file: Path, ids: dict[str, str] | None = None) -> dict[str, str]:
    """Lines "ID VALUE" of a list. Raises DataError if its IDs are others than those of ``ids``."""
    with parsing(file):
        found: dict[str, str] = dict(line.split(maxsplit=1) for line in lines(file))  # type: ignore[misc]
        odd = [] if ids is None else sorted(found.keys() ^ ids.keys())
        if odd:
            raise ValueError(f"it and the other lists differ in {len(odd)} numbers: {', '.join(odd[:3])}")
    return found


def in_order(names: dict[int, str]) -> list[str]:
    """Names of classes by label, "?" for a label that has none."""
    return [names.get(label, "?") for label in range(max(names, default=-1) + 1)]
