"""Stanford Cars (Krause et al., 3dRR 2013)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datamodules.augmented import Record
from datamodules.files import FileDataModule, Listing
from datamodules.location import Layout
from datamodules.matlab import load

TEST_LABELS = "cars_test_annos_withlabels.mat"


class CarsDataModule(FileDataModule):
    """196 classes, 8,144 and 8,041 images, in either of the two layouts that were published."""

    name = "cars"
    layout = Layout(
        markers=(
            ("cars_train", "cars_test", "devkit/cars_meta.mat", "devkit/cars_train_annos.mat", TEST_LABELS),
            ("cars_train", "cars_test", "devkit/cars_meta.mat", "devkit/cars_train_annos.mat", f"devkit/{TEST_LABELS}"),
            ("car_ims", "cars_annos.mat"),
        ),
        folder="stanford_cars",
        source="a copy of Stanford Cars; its own address is gone",
    )

    def read(self, root: Path) -> Listing:
        """Labels in the lists begin with 1."""
        if (root / "cars_annos.mat").exists():
            contents = load(root / "cars_annos.mat")
            parts: dict[int, list[Record]] = {0: [], 1: []}
            for entry in contents["annotations"]:
                parts[int(entry["test"])].append(_record(root / str(entry["relative_im_path"]), entry))
            return Listing([str(name) for name in contents["class_names"]], parts[0], parts[1])
        devkit = root / "devkit"
        test = devkit / TEST_LABELS
        files = {
            "cars_train": devkit / "cars_train_annos.mat",
            "cars_test": test if test.exists() else root / TEST_LABELS,
        }
        train, test_records = (
            [_record(root / folder / str(entry["fname"]), entry) for entry in load(file)["annotations"]]
            for folder, file in files.items()
        )
        return Listing([str(name) for name in load(devkit / "cars_meta.mat")["class_names"]], train, test_records)


def _record(path: Path, entry: Any) -> Record:
    return Record(path, int(entry["class"]) - 1)
