"""FGVC-Aircraft (Maji et al., arXiv 1306.5151)."""

from __future__ import annotations

from pathlib import Path

from datamodules.files import FileDataModule, Listing
from datamodules.lists import lines, parsing
from datamodules.location import Archive, Layout
from datamodules.official import Official
from datamodules.options import AircraftOptions
from datamodules.records import Record

URL = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz"
PLURAL = {"variant": "variants", "family": "families", "manufacturer": "manufacturers"}
CLASSES = {"variant": 100, "family": 70, "manufacturer": 30}
BANNER = 20  # pixels at the bottom of each image that name its photographer
EDGE = 1 << 20  # beyond any image


class AircraftDataModule(FileDataModule):
    """6,667 images to train on (training and validation, as papers do) and 3,333 to test on."""

    options: AircraftOptions
    name = "aircraft"
    layout = Layout(
        markers=(("data/images", "data/variants.txt", "data/images_variant_test.txt"),),
        folder="fgvc-aircraft-2013b",
        archives=(Archive("fgvc-aircraft-2013b.tar.gz", "d4acdd33327262359767eeaa97a4f732", URL),),
        source="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft",
    )

    @property
    def official(self) -> Official:  # type: ignore[override]  # a constant of the other datasets
        """Another number of classes at each level."""
        return Official(CLASSES[self.options.level], train=6667, test=3333)

    def read(self, root: Path) -> Listing:
        """Names of classes hold blanks: lines are split at the first."""
        level, data = self.options.level, root / "data"
        names = lines(data / f"{PLURAL[level]}.txt")
        label = {name: position for position, name in enumerate(names)}
        box = (0, 0, EDGE, -BANNER) if self.options.crop_banner else None

        def part(split: str) -> list[Record]:
            file = data / f"images_{level}_{split}.txt"
            with parsing(file):
                pairs = (line.split(" ", 1) for line in lines(file))
                return [Record(data / "images" / f"{image}.jpg", label[name], box) for image, name in pairs]

        return Listing(names, part("trainval"), part("test"))
