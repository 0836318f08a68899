"""A dataset of the library ``datasets``, from a folder or from the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datamodules.augmented import Source
from datamodules.base import ImageDataModule
from datamodules.checks import FileContents, check_files, check_labels
from datamodules.files import FileDataModule, Listing, held_out
from datamodules.huggingface.choosing import choose, place_of
from datamodules.huggingface.labels import class_names, column_of, numbered
from datamodules.huggingface.opening import open_dataset, root_of
from datamodules.huggingface.rows import NOTHING, RowContents, Rows, RowSource, row_named
from datamodules.huggingface.schemas import check_files_agree
from datamodules.location import ANY, Layout
from datamodules.options import HuggingFaceOptions
from datamodules.records import Records
from gcp.errors import DataError


def data_module(options: HuggingFaceOptions) -> ImageDataModule:
    """As a table, or as a stream, whichever ``data.streaming`` says."""
    if not options.streaming:
        return HuggingFaceTable(options)
    from datamodules.sets.huggingface_stream import HuggingFaceStream

    return HuggingFaceStream(options)


class HuggingFaceTable(FileDataModule):
    """A table of images and labels that the library keeps in files, of which each image is read when it is needed.

    Splits are found by their usual names, columns by their types, or as the options say. A dataset without a split to
    test on is divided by ``test_fraction`` and ``holdout_seed``, each class alike.
    """

    options: HuggingFaceOptions
    name = "huggingface"
    layout = Layout(markers=ANY)

    def located(self) -> Path:
        """What ``data.root`` says: a folder, or a name on the Hub, which is the library's to find."""
        return Path(root_of(self.options))

    def read(self, root: Path) -> Listing:
        """Open it, choose splits and columns, number the classes."""
        options = self.options
        opened = open_dataset(str(root), options.subset, options.revision)
        chosen = choose(opened, options, str(root))
        self._notes = chosen.notes
        self._rows: dict[str, Rows] = {}
        self._lengths: dict[str, np.ndarray] = {}
        names: list[str] = []
        parts = {}
        for part, split in chosen.splits.items():  # the training images first
            table, where = opened.splits[split], place_of(chosen.label, split)
            check_files_agree(opened.files.get(split, []), (chosen.image, chosen.label), chosen.feature, split)
            values = column_of(table, chosen.label)
            names = names or class_names(chosen.feature, values, where)
            labels = numbered(chosen.feature, values, names, where)
            parts[part] = self._records(Rows(table, split, chosen.image), labels)
        train = parts["train"]
        if len(parts) == 1:
            self._notes.insert(0, f"divided by data.test_fraction={options.test_fraction}")
            fraction, seed = options.test_fraction, options.holdout_seed
            train, test = held_out(train, "test_fraction", fraction, seed)
            return Listing(names, train, test)
        if "test" not in parts:
            return Listing(names, train, parts["val"])
        return Listing(names, train, parts["test"], parts.get("val", ()))

    def check(self, root: Path, class_names: list[str], parts: dict[str, Records]) -> None:
        """Labels, files where rows name some, and images that are there twice."""
        check_labels(class_names, parts)
        check_files({part: _files(records) for part, records in parts.items()})
        if self.options.check:
            self._check_copies(parts)

    def source(self, records: Records) -> Source:
        """Rows, read when they are asked for."""
        return RowSource(records, self.options.decode_backend, self._rows)

    def contents(self) -> FileContents:
        """What the rows hold."""
        return RowContents(self._rows, self._lengths)

    def describe(self) -> str:
        """Also which splits and files are not used."""
        return "; ".join([super().describe(), *self._notes])

    def _records(self, rows: Rows, labels: np.ndarray) -> Records:
        names, lengths = rows.names()
        self._rows[rows.split], self._lengths[rows.split] = rows, lengths
        empty = [at for at in np.flatnonzero(lengths == NOTHING).tolist() if row_named(names[at]) is not None]
        if empty and self.options.damaged == "error":
            raise DataError(
                f"{len(empty):,} of {len(names):,} rows of the split {rows.split} have no image (null), the first is "
                f"row {empty[0]}; remove them, or leave them out with data.damaged=skip"
            )
        return Records((name, label, None) for name, label in zip(names, labels.tolist(), strict=True))


def _files(records: Records) -> Records:
    """Those that are files of their own."""
    files = [position for position, path in enumerate(records.paths()) if row_named(path) is None]
    return records.select(np.array(files, dtype=np.int64))
