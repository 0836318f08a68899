"""A folder of images of one's own."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import ImageFolder

from datamodules.files import FileDataModule, Listing, held_out
from datamodules.location import ANY, Layout
from datamodules.options import FolderOptions
from datamodules.records import Records
from gcp.errors import DataError


def read_tree(folder: Path) -> tuple[list[str], Records]:
    """Names of the classes and images of a tree CLASS/IMAGE, by torchvision's ``ImageFolder``.

    Raises DataError for a tree without classes or a class without images.
    """
    try:
        tree = ImageFolder(str(folder))
    except (FileNotFoundError, OSError) as error:
        reason = str(error).split(" Supported")[0].rstrip(".")
        raise DataError(f"{folder} is no tree of images in a folder for each class: {reason}; mend it") from None
    return tree.classes, Records((path, label, None) for path, label in tree.samples)


def same_classes(expected: list[str], found: list[str], folder: Path) -> None:
    """Raise DataError unless both are the same."""
    if found != expected:
        odd = ", ".join(sorted(set(expected) ^ set(found))[:5])
        raise DataError(f"{folder} has other classes than the training images: {odd}; mend the folders")


class FolderDataModule(FileDataModule):
    """``train/CLASS/IMAGE`` with ``val/`` and ``test/`` likewise, or a single tree ``CLASS/IMAGE``.

    A single tree is divided by ``test_fraction`` and ``holdout_seed``, each class alike. Without a ``test/``, ``val/``
    is it.
    """

    options: FolderOptions
    name = "folder"
    layout = Layout(markers=ANY)

    def read(self, root: Path) -> Listing:
        """By ``ImageFolder``."""
        if not (root / "train").is_dir():
            _check_place(root)
            names, records = read_tree(root)
            return Listing(names, *held_out(records, self.options.test_fraction, self.options.holdout_seed))
        names, train = read_tree(root / "train")
        parts = {}
        for part in ("val", "test"):
            if (root / part).is_dir():
                found, parts[part] = read_tree(root / part)
                same_classes(names, found, root / part)
        if not parts:
            raise DataError(f"{root} has train/ but neither val/ nor test/; add one, or put all classes into {root}")
        test = parts.get("test", parts.get("val", []))
        return Listing(names, train, test, parts.get("val", []))


PARTS = ("train", "val", "test")


def _check_place(root: Path) -> None:
    """Raise DataError if not ``root`` but the folder one level down, or one or two up, has train/."""
    children = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    above = [folder.parent for folder in (root, root.parent) if folder.name in PARTS]
    for folder in [*above, *children]:
        if (folder / "train").is_dir():
            raise DataError(f"the dataset is not in data.root={root} but in {folder}; set data.root={folder}")
