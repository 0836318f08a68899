"""Oxford-IIIT Pet (Parkhi et al., CVPR 2012)."""

from __future__ import annotations

from pathlib import Path

from datamodules.files import FileDataModule, Listing
from datamodules.lists import in_order, lines, parsing
from datamodules.location import Archive, Layout
from datamodules.official import Official
from datamodules.records import Record

URL = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"


class PetsDataModule(FileDataModule):
    """37 breeds of cats and dogs, 3,680 and 3,669 images."""

    name = "pets"
    official = Official(37, train=3680, test=3669)
    layout = Layout(
        markers=(("images", "annotations/trainval.txt", "annotations/test.txt"),),
        folder="oxford-iiit-pet",
        archives=(
            Archive("images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c", URL + "images.tar.gz"),
            Archive("annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f", URL + "annotations.tar.gz"),
        ),
        source="https://www.robots.ox.ac.uk/~vgg/data/pets",
    )

    def read(self, root: Path) -> Listing:
        """Lines "BREED_NUMBER LABEL SPECIES NUMBER"; labels begin with 1."""
        names: dict[int, str] = {}
        parts = []
        for part in ("trainval", "test"):
            file = root / "annotations" / f"{part}.txt"
            records = []
            with parsing(file):
                for line in lines(file):
                    image, label = line.split()[:2]
                    names.setdefault(int(label) - 1, _name(image))
                    records.append(Record(root / "images" / f"{image}.jpg", int(label) - 1))
            parts.append(records)
        return Listing(in_order(names, file), *parts)

    def class_in(self, path: str) -> str:
        """The class that the file is named after."""
        return _name(Path(path).stem)


def _name(image: str) -> str:
    """The class in "yorkshire_terrier_12"."""
    return image.rsplit("_", 1)[0].replace("_", " ")
