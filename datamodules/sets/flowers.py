"""Oxford Flowers-102 (Nilsback and Zisserman, ICVGIP 2008)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torchvision.datasets import Flowers102

from datamodules.files import FileDataModule, Listing
from datamodules.lists import parsing
from datamodules.location import Archive, Layout
from datamodules.matlab import load
from datamodules.official import Official
from datamodules.records import Record

URL = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"


class FlowersDataModule(FileDataModule):
    """102 classes, 1,020 images to train on, 1,020 to validate on, 6,149 to test on."""

    name = "flowers"
    official = Official(102, train=1020, test=6149, val=1020)
    layout = Layout(
        markers=(("jpg", "setid.mat", "imagelabels.mat"),),
        folder="flowers-102",
        archives=(
            Archive("102flowers.tgz", "52808999861908f626f3c1f4e79d11fa", URL + "102flowers.tgz"),
            Archive("imagelabels.mat", "e0620be6f572b9609742df49c70aed4d", URL + "imagelabels.mat", extracted=False),
            Archive("setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c", URL + "setid.mat", extracted=False),
        ),
        source=URL,
    )

    def read(self, root: Path) -> Listing:
        """Numbers of images and labels begin with 1. That labels are right is known from the sums of the lists."""
        with parsing(root / "imagelabels.mat"):
            labels = np.atleast_1d(load(root / "imagelabels.mat")["labels"]).astype(int) - 1
        with parsing(root / "setid.mat"):
            numbers = load(root / "setid.mat")
            train, val, test = (
                [
                    Record(root / "jpg" / f"image_{number:05d}.jpg", int(labels[number - 1]))
                    for number in np.atleast_1d(numbers[part]).astype(int)
                ]
                for part in ("trnid", "valid", "tstid")
            )
        return Listing(list(Flowers102.classes[: labels.max(initial=-1) + 1]), train, test, val)
