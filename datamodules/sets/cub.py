"""CUB-200-2011: birds (Wah et al., Caltech technical report CNS-TR-2011-001)."""

from __future__ import annotations

from pathlib import Path

from datamodules.files import FileDataModule, Listing
from datamodules.lists import by_id, parsing
from datamodules.location import Archive, Layout
from datamodules.official import Official
from datamodules.records import Record

URL = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"


class CUBDataModule(FileDataModule):
    """200 classes, 5,994 and 5,794 images. The lists are joined by the images' numbers."""

    name = "cub"
    official = Official(200, train=5994, test=5794)
    layout = Layout(
        markers=(("images", "images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt"),),
        folder="CUB_200_2011",
        archives=(Archive("CUB_200_2011.tgz", "97eceeb196236b17998738112f37df78", URL),),
        source="https://www.vision.caltech.edu/datasets/cub_200_2011",
    )

    def read(self, root: Path) -> Listing:
        """Labels in the lists begin with 1."""
        files = by_id(root / "images.txt")
        labels = by_id(root / "image_class_labels.txt", files)
        training = by_id(root / "train_test_split.txt", files)
        parts: dict[str, list[Record]] = {"1": [], "0": []}
        for image, file in files.items():
            with parsing(root / "image_class_labels.txt"):
                record = Record(root / "images" / file, int(labels[image]) - 1)
            with parsing(root / "train_test_split.txt"):
                parts[training[image]].append(record)
        classes = by_id(root / "classes.txt")
        with parsing(root / "classes.txt"):
            names = [_name(classes[key]) for key in sorted(classes, key=int)]
        return Listing(names, parts["1"], parts["0"])

    def class_in(self, path: str) -> str:
        """The class that the folder is named after."""
        return _name(Path(path).parent.name)


def _name(folder: str) -> str:
    """The class in "001.Black_footed_Albatross"."""
    return folder.split(".", 1)[-1].replace("_", " ")
