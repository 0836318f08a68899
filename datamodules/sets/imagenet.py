"""ImageNet, ILSVRC 2012 (Russakovsky et al., arXiv 1409.0575)."""

from __future__ import annotations

import os
from pathlib import Path

from torchvision.datasets import imagenet
from torchvision.models import ResNet50_Weights

from datamodules.archives import check_md5, one_process_at_a_time, partial_folder, unpack
from datamodules.files import FileDataModule, Listing
from datamodules.location import Layout, chosen_root
from datamodules.official import Official
from datamodules.sets.folder import same_classes
from datamodules.splits import Splits
from datamodules.trees import read_tree
from gcp.errors import DataError

ARCHIVES = {part: name for part, (name, _) in imagenet.ARCHIVE_META.items()}  # of "train", "val" and "devkit"
NEEDED = {"train": ["train"], "val": ["val", "devkit"]}  # the validation labels are in the development kit


class ImageNetDataModule(FileDataModule):
    """1000 classes, 1,281,167 images to train on and the 50,000 validation images to test on.

    ``train/WNID/IMAGE`` and ``val/WNID/IMAGE``, or the three official archives, which are checked and extracted into
    that. Labels are the positions of the WordNet numbers in alphabetical order.
    """

    name = "imagenet"
    official = Official(1000, train=1_281_167, test=50_000)
    layout = Layout(
        markers=(("train", "val"),),
        source=f"https://image-net.org: {', '.join(ARCHIVES.values())}, or trees train/ and val/ with a folder for "
        "each class",
    )

    def make_splits(self) -> Splits:
        """Extract the official archives first, if that is what there is."""
        root = chosen_root(self.name, self.options.root)
        if any((root / name).exists() for name in ARCHIVES.values()) and self.layout.missing(root):
            _extract_official(root, self.layout)
        return super().make_splits()

    def read(self, root: Path) -> Listing:
        """Names of the 1000 classes from torchvision, of fewer their WordNet numbers."""
        numbers, train = read_tree(root / "train")
        found, test = read_tree(root / "val")
        same_classes(numbers, found, root / "val")
        names = ResNet50_Weights.IMAGENET1K_V2.meta["categories"]
        names = list(names) if len(numbers) == len(names) else numbers
        self._named = dict(zip(numbers, names, strict=True))
        return Listing(names, train, test)

    def class_in(self, path: str) -> str | None:
        """Training images are called WNID_NUMBER; the names of the others say nothing."""
        return self._named.get(os.path.basename(path).split("_")[0])


def _extract_official(root: Path, layout: Layout) -> None:
    """Make ``train/`` and ``val/``, whichever is missing. Raises DataError for what is missing or damaged."""
    needed = [ARCHIVES[archive] for part in layout.missing(root) for archive in NEEDED[part]]
    lacking = ", ".join(name for name in needed if not (root / name).exists())
    if lacking:
        there = ", ".join(name for name in ARCHIVES.values() if (root / name).exists())
        raise DataError(f"{root} has {there} but not {lacking}; put all of them there")
    try:
        with one_process_at_a_time(root):
            for part in layout.missing(root):
                for archive in NEEDED[part]:
                    check_md5(root / ARCHIVES[archive], imagenet.ARCHIVE_META[archive][1])
                with partial_folder(root) as partial:
                    unpack(root / ARCHIVES[part], partial)
                    if part == "train":
                        _sort_train(partial)
                    else:
                        _sort_val(partial, root)
                    os.rename(partial, root / part)
    except OSError as error:
        raise DataError(
            f"the archives in {root} cannot be extracted ({error}); mend that, or do it elsewhere"
        ) from None


def _sort_train(folder: Path) -> None:
    """An archive for each class becomes a folder for each class."""
    for archive in sorted(folder.glob("*.tar")):
        (folder / archive.stem).mkdir()
        unpack(archive, folder / archive.stem, inner=True)
        archive.unlink()


def _sort_val(folder: Path, root: Path) -> None:
    """Images in one folder go into a folder for each class, by the labels in the development kit."""
    imagenet.parse_devkit_archive(root)
    _, numbers = imagenet.load_meta_file(root)
    for number in set(numbers):
        (folder / number).mkdir()
    for number, image in zip(numbers, sorted(folder.glob("*.JPEG")), strict=True):
        os.rename(image, folder / number / image.name)
