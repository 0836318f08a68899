"""The data module of datasets made of files: found, read, checked, divided and transformed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datamodules.augmented import AugmentedImages, FileSource, Record, Source
from datamodules.base import ImageDataModule
from datamodules.location import Layout, chosen_root, locate
from datamodules.options import FileOptions
from datamodules.preprocessing import Preprocessing
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
        """As the dataset lists them; known after ``setup``."""
        return self.listing.class_names

    @property
    def listing(self) -> Listing:
        """What ``read`` found. Raises DataError before ``setup``."""
        if not hasattr(self, "_listing"):
            raise DataError(f"{type(self).__name__} has read no files yet; call setup() first")
        return self._listing

    @property
    def preprocessing(self) -> Preprocessing:
        """The transform of the test part, one view."""
        resize = TRANSFORMS.get(self.options.transform).resized(self.image_size)
        sides = None if resize is None else [resize] if isinstance(resize, int) else list(resize)
        return Preprocessing(self.image_size, self.class_names, list(MEAN), list(STD), sides)

    def make_splits(self) -> Splits:
        """Find, read, check, divide. Raises DataError for everything that can be known before training."""
        options = self.options
        listing = self.read(locate(chosen_root(self.name, options.root), self.layout, options.download))
        self.check(listing)
        self._listing = listing
        train, val = listing.train, listing.val or listing.test
        if options.holdout:
            train, val = held_out(train, options.holdout, options.holdout_seed)
        sources = {"train": train, "val": val, "test": listing.test}
        return Splits(**{part: self._images(self.source(records), part) for part, records in sources.items()})

    def check(self, listing: Listing) -> None:
        """Raise DataError for lists and files that do not go together."""
        check(listing)

    def source(self, records: Sequence[Record]) -> Source:
        """The images of ``records``."""
        return FileSource(records, self.options.decode_backend)

    def _images(self, source: Source, part: str) -> AugmentedImages:
        options = self.options
        transform = create_transform(options.transform, part, options.image_size, options.protocol)
        return AugmentedImages(source, transform, options.seed)


def held_out(records: Sequence[Record], fraction: float, seed: int) -> tuple[list[Record], list[Record]]:
    """Two parts of ``records``, the second with ``fraction`` of each class."""
    labels = np.array([record.label for record in records])
    parts = stratified_split(labels, (1 - fraction, fraction), seed)
    train, val = ([records[position] for position in part] for part in parts)
    return train, val


def check(listing: Listing) -> None:
    """Raise DataError for an empty class, a label that is out of range or an image that is not there."""
    classes = len(listing.class_names)
    for part, records in (("training", listing.train), ("validation", listing.val), ("test", listing.test)):
        wrong = [record for record in records if not 0 <= record.label < classes]
        if wrong:
            raise DataError(
                f"the {part} list gives {wrong[0].path} the label {wrong[0].label}, counted from 0, and there are "
                f"{classes} classes; restore the lists from the archive"
            )
        missing = [record.path for record in records if not record.path.exists()]
        if missing:
            named = ", ".join(map(str, missing[:3])) + (", ..." if len(missing) > 3 else "")
            raise DataError(f"{len(missing)} of {len(records)} {part} images are not there: {named}; restore them")
    empty = sorted(set(range(classes)) - {record.label for record in listing.train})
    if empty:
        names = ", ".join(listing.class_names[label] for label in empty[:5])
        raise DataError(f"{len(empty)} of {classes} classes have no training image: {names}; restore them")


def lines(file: Path) -> list[str]:
    """Lines of a list, without empty ones. Raises DataError if it cannot be read."""
    try:
        return [line.strip() for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list {file} cannot be read ({error}); restore it from the archive") from None


def by_id(file: Path) -> dict[str, str]:
    """Lines "ID VALUE" of a list."""
    return dict(line.split(maxsplit=1) for line in lines(file))
