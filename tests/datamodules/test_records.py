"""Records in arrays are what went in."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from datamodules.checks import check_files
from datamodules.records import Record, Records
from gcp.errors import DataError

MIXED = [
    Record(Path("birds/ä b.jpg"), 3),
    Record(Path("/plain.jpg"), 0, (1, -2, 1 << 20, -20)),
    Record(Path("not-utf8-\udcff.jpg"), 1),  # as the system hands over a name in another encoding
    Record(Path("last.jpg"), 2, (0, 0, 5, 6)),
]


def test_they_are_what_went_in():
    records = Records(MIXED)
    assert list(records) == MIXED
    assert records[-1] == MIXED[-1]
    assert list(records.paths()) == [str(record.path) for record in MIXED]
    assert records.labels.tolist() == [3, 0, 1, 2]
    assert list(pickle.loads(pickle.dumps(records))) == MIXED
    assert Records.of(records) is records
    with pytest.raises(IndexError):
        records[4]


def test_some_of_them():
    assert list(Records(MIXED).select(np.array([3, 1]))) == [MIXED[3], MIXED[1]]
    assert list(Records(MIXED).select(np.array([], dtype=int))) == list(Records([])) == []


def test_a_million_take_little_memory():
    records = Records(Record(Path(f"/data/train/n{number:08d}/n{number:08d}.JPEG"), 0) for number in range(1000))
    held = sum(value.nbytes for value in vars(records).values())
    assert held / len(records) < 80  # bytes: 41 for the name and three whole numbers of 8, one of them the box's row


def test_links_to_nowhere_are_missing(tmp_path):
    (tmp_path / "there.jpg").touch()
    (tmp_path / "link.jpg").symlink_to("there.jpg")
    (tmp_path / "dangling.jpg").symlink_to("gone.jpg")
    link, dangling = Record(tmp_path / "link.jpg", 0), Record(tmp_path / "dangling.jpg", 0)
    check_files({"training": Records([link])})
    with pytest.raises(DataError, match=r"1 of 2 training images are not there: .*dangling\.jpg"):
        check_files({"training": Records([link, dangling])})


def test_images_in_a_closed_folder_are_not_said_to_be_missing(tmp_path, monkeypatch):
    """Nor those in a folder below a closed one, about which the system does not even say that it is there."""

    def denied(path, *rest, **options):  # tests may run as root, whom permissions do not stop
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "closed/below").mkdir(parents=True)
    records = Records([Record(tmp_path / "closed/below/a.jpg", 0)])
    with pytest.raises(DataError, match="1 of 1 training images are not there"):
        check_files({"training": records})
    with monkeypatch.context() as patched:
        for name in ("scandir", "stat"):
            patched.setattr(os, name, denied)
        with pytest.raises(DataError, match=r"closed/below cannot be read \(Permission denied\); mend that"):
            check_files({"training": records})
    absent = Records([Record(tmp_path / "absent/a.jpg", 0)])
    with pytest.raises(DataError, match="1 of 1 training images are not there"):
        check_files({"training": absent})
