"""A folder of images of one's own."""

from __future__ import annotations

from pathlib import Path

from datamodules.files import FileDataModule, Listing, held_out
from datamodules.location import ANY, Layout
from datamodules.options import FolderOptions
from datamodules.parts import PART_OF, parts_of, refuse_hidden_parts
from datamodules.trees import read_tree, subfolders
from gcp.errors import DataError, few


def same_classes(expected: list[str], found: list[str], folder: Path) -> None:
    """Raise DataError unless both are the same."""
    if found != expected:
        odd = few(sorted(set(expected) ^ set(found)))
        raise DataError(f"{folder} has other classes than the training images: {odd}; mend the folders")


class FolderDataModule(FileDataModule):
    """``train/CLASS/IMAGE`` with ``val/`` and ``test/`` likewise, or a single tree ``CLASS/IMAGE``.

    The parts may have the other names that are common, see `datamodules.parts`. A single tree is divided by
    ``test_fraction`` and ``holdout_seed``, each class alike. Without a ``test/``, ``val/`` is it.
    """

    options: FolderOptions
    name = "folder"
    layout = Layout(markers=ANY)

    def read(self, root: Path) -> Listing:
        """Classes are numbered by name."""
        folders = parts_of(root)
        if not folders:
            _check_place(root)
            if self.options.check:
                refuse_hidden_parts(root)
            names, records = read_tree(root)
            fraction, seed = self.options.test_fraction, self.options.holdout_seed
            return Listing(names, *held_out(records, "test_fraction", fraction, seed))
        names, train = read_tree(folders.pop("train"))
        parts = {}
        for part, folder in folders.items():
            found, parts[part] = read_tree(folder)
            same_classes(names, found, folder)
        if "test" not in parts:
            return Listing(names, train, parts["val"])
        return Listing(names, train, parts["test"], parts.get("val", ()))


def _check_place(root: Path) -> None:
    """Raise DataError if not ``root`` but the folder one level down, or one or two up, has the parts."""
    above = [folder.parent for folder in (root, root.parent) if folder.name.lower() in PART_OF]
    for folder in [*above, *subfolders(root)]:
        if any(PART_OF.get(each.name.lower()) == "train" for each in subfolders(folder)):
            raise DataError(f"the dataset is not in data.root={root} but in {folder}; set data.root={folder}")
