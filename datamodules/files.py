"""The data module of datasets made of files: found, read, checked, divided and transformed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datamodules.augmented import AugmentedImages, FileSource, Source
from datamodules.base import ImageDataModule
from datamodules.checks import check_files, check_labels
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
            if not len(val) or not len(train):
                raise DataError(
                    f"data.holdout={options.holdout} holds out {len(val)} images of {len(val) + len(train)}, because "
                    "classes are divided one by one; choose another fraction"
                )
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
