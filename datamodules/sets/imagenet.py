"""ImageNet, ILSVRC 2012 (Russakovsky et al., arXiv 1409.0575)."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import ImageNet

from datamodules.files import FileDataModule, Listing
from datamodules.location import Layout, chosen_root
from datamodules.sets.folder import read_tree, same_classes
from datamodules.splits import Splits
from gcp.errors import DataError

ARCHIVES = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz")


class ImageNetDataModule(FileDataModule):
    """1000 classes, 1,281,167 images to train on and the 50,000 validation images to test on.

    ``train/WNID/IMAGE`` and ``val/WNID/IMAGE``, or the three official archives, which torchvision checks and extracts
    into that. Labels are the positions of the WordNet numbers in alphabetical order.
    """

    name = "imagenet"
    layout = Layout(
        markers=(("train", "val"),),
        source=f"https://image-net.org: {', '.join(ARCHIVES)}, or trees train/ and val/ with a folder for each class",
    )

    def make_splits(self) -> Splits:
        """Extract the official archives first, if that is what there is."""
        root = chosen_root(self.name, self.options.root)
        there = [name for name in ARCHIVES if (root / name).exists()]
        if there and self.layout.missing(root):
            if len(there) < len(ARCHIVES):
                lacking = ", ".join(name for name in ARCHIVES if name not in there)
                raise DataError(f"{root} has {', '.join(there)} but not {lacking}; put all three there")
            try:
                for part in ("train", "val"):
                    ImageNet(root, part)
            except (RuntimeError, OSError) as error:
                raise DataError(f"an archive in {root} is damaged ({error}); fetch it again") from None
        return super().make_splits()

    def read(self, root: Path) -> Listing:
        """By ``ImageFolder``."""
        names, train = read_tree(root / "train")
        found, test = read_tree(root / "val")
        same_classes(names, found, root / "val")
        return Listing(names, train, test)
