"""Stanford Cars (Krause et al., 3dRR 2013)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from datamodules.files import FileDataModule, Listing
from datamodules.lists import parsing
from datamodules.location import Archive, Layout
from datamodules.matlab import load
from datamodules.official import Official
from datamodules.records import Record

TEST_LABELS = "cars_test_annos_withlabels.mat"


class CarsDataModule(FileDataModule):
    """196 classes, 8,144 and 8,041 images, in either of the two layouts that were published."""

    name = "cars"
    official = Official(196, train=8144, test=8041)
    layout = Layout(
        markers=(
            ("cars_train", "cars_test", "devkit/cars_meta.mat", "devkit/cars_train_annos.mat", TEST_LABELS),
            ("cars_train", "cars_test", "devkit/cars_meta.mat", "devkit/cars_train_annos.mat", f"devkit/{TEST_LABELS}"),
            ("car_ims", "cars_annos.mat"),
        ),
        folder="stanford_cars",
        archives=(
            Archive("cars_train.tgz", "065e5b463ae28d29e77c1b4b166cfe61"),
            Archive("cars_test.tgz", "4ce7ebf6a94d07f1952d94dd34c4d501"),
            Archive("car_devkit.tgz", "c3b158d763b6e2245038c8ad08e45376"),
            Archive(TEST_LABELS, "b0a2b23655a3edd16d84508592a98d10", extracted=False),
        ),
        others=(Archive("car_ims.tgz"), Archive("cars_annos.mat", extracted=False)),
        source="a copy of Stanford Cars; its own address is gone",
    )

    def read(self, root: Path) -> Listing:
        """Labels in the lists begin with 1."""
        single, devkit = root / "cars_annos.mat", root / "devkit"
        if single.exists():
            contents = load(single)
            parts: dict[int, list[Record]] = {0: [], 1: []}
            with parsing(single):
                for entry in np.atleast_1d(contents["annotations"]):
                    parts[int(entry["test"])].append(_record(root / str(entry["relative_im_path"]), entry))
            return Listing(_names(single), parts[0], parts[1])
        test = devkit / TEST_LABELS if (devkit / TEST_LABELS).exists() else root / TEST_LABELS
        train_records = _records(devkit / "cars_train_annos.mat", root / "cars_train")
        return Listing(_names(devkit / "cars_meta.mat"), train_records, _records(test, root / "cars_test"))


def _names(file: Path) -> list[str]:
    with parsing(file):
        return [str(name) for name in np.atleast_1d(load(file)["class_names"])]


def _records(file: Path, folder: Path) -> list[Record]:
    with parsing(file):
        return [_record(folder / str(entry["fname"]), entry) for entry in np.atleast_1d(load(file)["annotations"])]


def _record(path: Path, entry: Any) -> Record:
    return Record(path, int(entry["class"]) - 1)
