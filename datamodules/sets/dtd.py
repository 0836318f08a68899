"""Describable Textures (Cimpoi et al., CVPR 2014), with its ten divisions."""

from __future__ import annotations

from pathlib import Path

from datamodules.files import FileDataModule, Listing
from datamodules.lists import lines, parsing
from datamodules.location import Archive, Layout
from datamodules.official import Official
from datamodules.options import DTDOptions
from datamodules.records import Record

URL = "https://www.robots.ox.ac.uk/~vgg/data/dtd"


class DTDDataModule(FileDataModule):
    """47 textures, 1,880 images each to train, validate and test on; papers average over the ten divisions."""

    options: DTDOptions
    name = "dtd"
    official = Official(47, train=1880, test=1880, val=1880)
    layout = Layout(
        markers=(("images", "labels/train1.txt"),),
        folder="dtd",
        archives=(
            Archive("dtd-r1.0.1.tar.gz", "fff73e5086ae6bdbea199a49dfb8a4c1", f"{URL}/download/dtd-r1.0.1.tar.gz"),
        ),
        source=URL,
    )

    def read(self, root: Path) -> Listing:
        """Lines "CLASS/IMAGE"; classes are numbered by name."""
        parts = {}
        for part in ("train", "test", "val"):
            file = root / "labels" / f"{part}{self.options.split}.txt"
            with parsing(file):
                pairs = [line.split("/") for line in lines(file)]
                parts[part] = [(name, image) for name, image in pairs]
        names = sorted({name for pairs in parts.values() for name, _ in pairs})
        label = {name: position for position, name in enumerate(names)}
        train, test, val = (
            [Record(root / "images" / name / image, label[name]) for name, image in pairs] for pairs in parts.values()
        )
        return Listing(names, train, test, val)

    def class_in(self, path: str) -> str:
        """The class that the file is named after: "polka-dotted" of "polka-dotted_0042.jpg"."""
        return Path(path).stem.rsplit("_", 1)[0]
