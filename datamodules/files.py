"""The data module of datasets made of files: found, read, checked, divided and transformed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datamodules.augmented import AugmentedImages, FileSource, Source
from datamodules.checks import FileContents, check_files, check_labels, described_copies, find_copies
from datamodules.damage import unreadable
from datamodules.location import Layout, chosen_root, locate
from datamodules.official import Official, check_counts, check_lists, check_names
from datamodules.options import FileOptions
from datamodules.records import Record, Records
from datamodules.splits import Splits, stratified_split
from datamodules.transformed import TransformedDataModule
from gcp.errors import DataError, few

PARTS = {"train": "training", "val": "validation", "test": "test"}


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


class FileDataModule(TransformedDataModule):
    """A dataset of image files. A dataset is a subclass with ``name``, ``layout`` and ``read``.

    A published one also has ``official``, and ``class_in`` where files are named after their classes: with
    ``check=on`` a copy that is not as it was published is refused.

    Without ``holdout``, validation is on the dataset's own validation part, and where it has none on the test part, as
    the papers do, whose best epoch is then chosen on test images. With it, that fraction of every class's training
    images is held out for validation instead, and not trained on.
    """

    options: FileOptions
    name: str
    layout: Layout
    official: Official | None = None

    @abstractmethod
    def read(self, root: Path) -> Listing:
        """Read the lists in ``root``, which has the layout."""

    def class_in(self, path: str) -> str | None:
        """Name of the class of the image ``path``, by the name of the file or its folder; None: they say nothing."""
        return None

    def root(self) -> Path:
        """Where the files are to be looked for. Raises DataError if nothing says."""
        return self.chosen_root()

    def chosen_root(self, usual: Path | None = None, remedy: str | None = None) -> Path:
        """``data.root``, else the folder in ``$GCP_DATA``, else the ``usual`` one if it is there.

        Raises DataError, with the ``remedy``, if it is none of these.
        """
        return chosen_root(self.name, self.options.root, usual, remedy)

    def located(self) -> Path:
        """Where the files are, after extracting or fetching what is needed. Raises DataError if they are not there."""
        return locate(self.root(), self.layout, self.options.download)

    @property
    def class_names(self) -> list[str]:
        """As the dataset lists them. Raises DataError before ``setup``."""
        if not hasattr(self, "_class_names"):
            raise DataError(f"{type(self).__name__} has read no files yet; call setup() first")
        return self._class_names

    @property
    def train_labels(self) -> np.ndarray:
        """Labels from the lists, without those of images that were left out."""
        labels: np.ndarray = self.splits.train.source.records.labels  # type: ignore[attr-defined]  # they are `Augmented`
        return labels

    def make_splits(self) -> Splits:
        """Find, read, check, divide. Raises DataError for everything that can be known before training."""
        options = self.options
        root = self.located()
        try:
            names, *lists = self.read(root)
            train, test, val = map(Records.of, lists)
            self.check(root, names, {"training": train, "test": test, "validation": val})
        except OSError as error:
            raise DataError(f"{error.filename or root} cannot be read ({error.strerror or error}); mend that") from None
        self._class_names = names
        if options.holdout:
            train, val = held_out(train, "holdout", options.holdout, options.holdout_seed)
        sources = {"train": train, "val": val if len(val) else test, "test": test}
        return Splits(**{part: self._images(self.source(records), part) for part, records in sources.items()})

    def check(self, root: Path, class_names: list[str], parts: dict[str, Records]) -> None:
        """Raise DataError for lists and files that do not go together, or not with what was published."""
        check_labels(class_names, parts)
        if self.options.check and self.official is not None:
            check_lists(root, self.layout)
            check_counts(self.name, self.official, class_names, parts)
            check_names(class_names, parts, self.class_in)
        check_files(parts)
        if self.options.check:
            self._check_copies(parts)

    def _check_copies(self, parts: dict[str, Records]) -> None:
        """Refuse images that are both trained and tested on; keep what else is there twice, which `describe` names."""
        self._copies = find_copies(parts, self.contents())
        across = [(one, other) for one, other in self._copies if one[1] != other[1]]
        if across and self.official is None:
            raise DataError(
                f"{described_copies(across)}; remove what is in two parts, or add data.check=off to leave it so"
            )

    @property
    def validates_on_test(self) -> bool:
        """Whether the dataset has no validation part, and none is held out."""
        return self.splits.val.source.records is self.splits.test.source.records  # type: ignore[attr-defined]  # they are `Augmented`

    def describe(self) -> str:
        """Classes and sizes; also that validation is on the test part, and which images are copies of others."""
        copies = getattr(self, "_copies", [])
        said = ["validated on the test part"] * self.validates_on_test + ([described_copies(copies)] if copies else [])
        return "; ".join([super().describe(), *said])

    def check_images(self, parts: Sequence[str]) -> dict[str, str]:
        """Read the images of ``parts`` (of "train", "val" and "test"), each file once.

        Returns:
            Files that cannot be read, with the reason, which are left out from now on: with ``damaged=skip``.

        Raises:
            DataError: there are any, with ``damaged=error``; or too few are left.
        """
        found: dict[str, str] = {}
        rest: dict[int, Records] = {}
        for part in parts:
            source = getattr(self.splits, part).source
            if not isinstance(source, FileSource):
                continue
            records = source.records
            if id(records) not in rest:  # without a validation part, that and the test part are the same
                wrong = unreadable(source, self.options.num_workers, PARTS[part])
                found.update((records.path(position), reason) for position, reason in wrong.items())
                if wrong and self.options.damaged == "error":
                    raise _unreadable_images(PARTS[part], records, wrong)
                kept = np.setdiff1d(np.arange(len(records)), list(wrong))
                rest[id(records)] = records.select(kept) if wrong else records
            source.records = rest[id(records)]
        if found:
            check_labels(self.class_names, {"training": self.splits.train.source.records})  # type: ignore[attr-defined]  # they are `Augmented`
        self._refuse_small(self.splits)
        return found

    def source(self, records: Records) -> Source:
        """The images of ``records``."""
        return FileSource(records, self.options.decode_backend)

    def contents(self) -> FileContents:
        """What the images of records hold, of which copies are found."""
        return FileContents()

    def _images(self, source: Source, part: str) -> AugmentedImages:
        return AugmentedImages(source, self.transform(part), self.options.seed)


def held_out(records: Records, option: str, fraction: float, seed: int) -> tuple[Records, Records]:
    """Two parts of ``records``, the second with ``fraction`` of each class.

    Raises DataError, which names the ``option`` that says the fraction, if one of them has no images.
    """
    train, held = stratified_split(records.labels, (1 - fraction, fraction), seed)
    if not len(held) or not len(train):
        raise DataError(
            f"data.{option}={fraction} holds out {len(held)} images of {len(records)}, because classes are divided one "
            "by one; choose another fraction"
        )
    return records.select(train), records.select(held)


def _unreadable_images(part: str, records: Records, wrong: dict[int, str]) -> DataError:
    named = few([f"{records.path(at)} ({reason})" for at, reason in wrong.items()], 3)
    return DataError(
        f"{len(wrong)} of {len(records):,} {part} images cannot be read: {named}; restore them from the archive, or "
        "leave them out with data.damaged=skip"
    )
