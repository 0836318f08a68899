"""Stanford Dogs (Khosla et al., FGVC workshop 2011), whose pictures come from ImageNet's training set."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from datamodules.files import FileDataModule, Listing
from datamodules.lists import in_order, parsing
from datamodules.location import Archive, Layout
from datamodules.matlab import load
from datamodules.official import Official
from datamodules.options import DogsOptions
from datamodules.records import Record
from gcp.errors import DataError


class DogsDataModule(FileDataModule):
    """120 classes, 12,000 and 8,580 images. A network pretrained on ImageNet has seen them all."""

    options: DogsOptions
    name = "dogs"
    official = Official(120, train=12_000, test=8580)
    layout = Layout(
        markers=(
            ("Images", "train_list.mat", "test_list.mat"),
            ("Images", "lists/train_list.mat", "lists/test_list.mat"),
            ("images", "train_list.mat", "test_list.mat"),
            ("images", "lists/train_list.mat", "lists/test_list.mat"),
        ),
        folder="stanford_dogs",
        archives=(Archive("images.tar"), Archive("lists.tar")),
        source="http://vision.stanford.edu/aditya86/ImageNetDogs",
    )

    def read(self, root: Path) -> Listing:
        """Labels in the lists begin with 1; classes are named by their folders."""
        lists = root / "lists" if (root / "lists").exists() else root
        images = root / "Images" if (root / "Images").exists() else root / "images"
        names: dict[int, str] = {}
        parts = []
        for part in ("train", "test"):
            file = lists / f"{part}_list.mat"
            contents = load(file)
            with parsing(file):
                pairs = zip(np.atleast_1d(contents["file_list"]), np.atleast_1d(contents["labels"]), strict=True)
                parts.append([self._record(images, str(name), int(label) - 1, names) for name, label in pairs])
        return Listing(in_order(names, file), *parts)

    def class_in(self, path: str) -> str:
        """The class that the folder is named after."""
        return _name(Path(path).parent.name)

    def _record(self, images: Path, file: str, label: int, names: dict[int, str]) -> Record:
        folder, _, name = file.partition("/")
        names.setdefault(label, _name(folder))
        annotation = images.parent / "Annotation" / folder / Path(name).stem
        return Record(images / file, label, self._box(annotation) if self.options.crop_to_box else None)

    def _box(self, file: Path) -> tuple[int, int, int, int]:
        try:
            box = ElementTree.parse(file).find("object/bndbox")
        except (OSError, ElementTree.ParseError) as error:
            raise DataError(
                f"data.crop_to_box=true needs the annotation {file}, which cannot be read ({error}); extract "
                "annotation.tar there, or leave the option out"
            ) from None
        edges = [None if box is None else box.findtext(edge) for edge in ("xmin", "ymin", "xmax", "ymax")]
        if None in edges:
            raise DataError(f"the annotation {file} has no box; restore it from annotation.tar")
        left, upper, right, lower = (int(edge or 0) for edge in edges)
        return left, upper, right, lower


def _name(folder: str) -> str:
    """The class in "n02085620-Chihuahua"."""
    return folder.split("-", 1)[-1].replace("_", " ")
