"""dataset=folder: which folders are parts, which are classes, and which are neither."""

from __future__ import annotations

import os
import re
import shutil
import zlib

import pytest

from datamodules.checks import find_copies
from datamodules.datasets import create_datamodule
from datamodules.parts import NAMES
from datamodules.pictures import find_pictures
from datamodules.records import Records
from datamodules.trees import SYSTEM
from gcp.errors import DataError
from tests.datamodules import fabricate

FRUIT = ["apple", "pear"]


def made(root, **options):
    data = create_datamodule("folder", root=str(root), image_size=16, **options)
    data.setup()
    return data


def sizes(data):
    return tuple(len(part) for part in data.splits)


def tree(folder, each, first=None):
    """Other images in each folder, unless the number of the first is given."""
    fabricate._tree(folder, FRUIT, each, 100 * zlib.crc32(folder.name.encode()) if first is None else first)


@pytest.mark.parametrize("spelling", [str.lower, str.title, str.upper])
@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        (NAMES["train"][row % 2], NAMES["val"][row], NAMES["test"][row % 2])
        for row in range(max(map(len, NAMES.values())))
    ],
)
def test_the_common_names_of_parts(tmp_path, train, val, test, spelling):
    for name, each in ((train, 4), (val, 3), (test, 2)):
        tree(tmp_path / spelling(name), each)
    data = made(tmp_path)
    assert (data.class_names, sizes(data)) == (FRUIT, (8, 6, 4))


def test_validation_images_are_tested_on_where_there_are_no_others(tmp_path):
    tree(tmp_path / "Train", 4)
    tree(tmp_path / "Valid", 3)
    assert sizes(made(tmp_path)) == (8, 6, 6)


@pytest.mark.parametrize("name", sorted([*SYSTEM, ".ipynb_checkpoints", ".DS_Store", ".git", "Thumbs.db"]))
def test_what_systems_leave_is_no_class_and_no_image(tmp_path, name):
    for part, each in (("train", 4), ("test", 2)):
        tree(tmp_path / part, each)
        fabricate.picture(tmp_path / part / name / "copy.jpg", 1)
        fabricate.picture(tmp_path / part / "apple" / name / "copy.jpg", 1)
        fabricate.picture(tmp_path / part / "pear" / "._ghost.jpg", 1)
    fabricate.picture(tmp_path / name / "train/copy.jpg", 1)
    data = made(tmp_path)
    assert (data.class_names, sizes(data)) == (FRUIT, (8, 4, 4))
    assert len(find_pictures(tmp_path)) == 12


@pytest.mark.parametrize(
    ("folders", "reason"),
    [
        (["Validation", "Test"], "has Test/ and Validation/ but nothing to train on"),
        (["train"], "has train/ but neither val/ nor test/"),
        (["train", "val", "valid"], "has both val/ and valid/ for one part; keep one"),
        (["train", "Train", "test"], "has both Train/ and train/ for one part"),
        (["train_images", "test_images"], "test_images/ and train_images/ .* look like parts of the data"),
        (["train", "test", "test-2"], "test-2/ .* look like parts of the data"),
        (["train", "validation2"], "validation2/ .* look like parts of the data"),
        (["fold1", "fold2"], r"fold1 and fold2 .* each hold the same folders \(apple, pear\)"),
    ],
)
def test_what_looks_like_parts_is_not_taken_for_classes(tmp_path, folders, reason):
    for name in folders:
        tree(tmp_path / name, 2)
    with pytest.raises(DataError, match=reason):
        made(tmp_path)


def test_parts_without_folders_for_classes(tmp_path):
    for part in ("train", "test"):
        fabricate.picture(tmp_path / part / "picture.jpg", 0)
    with pytest.raises(DataError, match=r"test/ and train/ .* with a folder for each class"):
        made(tmp_path)


def test_a_train_among_other_vehicles_is_a_class(tmp_path):
    fabricate._tree(tmp_path, ["bus", "car", "train"], 5, 0)
    assert made(tmp_path).class_names == ["bus", "car", "train"]


def test_classes_with_the_same_folders_below_are_classes_if_one_says_so(tmp_path):
    for name in ("left", "right"):
        tree(tmp_path / name, 5)
    assert made(tmp_path, check=False).class_names == ["left", "right"]


def test_a_class_whose_name_cannot_be_printed_is_refused(tmp_path):
    tree(tmp_path, 5)
    (tmp_path / "apple").rename(tmp_path / os.fsdecode(b"\xffpple"))
    with pytest.raises(DataError, match=r"xffpple' of a class is no UTF-8; rename it"):
        made(tmp_path)


def test_a_loop_of_links_is_refused(tmp_path):
    tree(tmp_path / "train", 4)
    tree(tmp_path / "test", 2)
    os.symlink(tmp_path / "train", tmp_path / "train/apple/again")
    with pytest.raises(DataError, match=r"train/apple/again.* leads through a link back .*remove the link"):
        made(tmp_path)
    (tmp_path / "train/apple/again").unlink()
    os.symlink(tmp_path / "train/apple", tmp_path / "train/quince")
    (tmp_path / "test/quince").mkdir()
    fabricate.picture(tmp_path / "test/quince/1.jpg", 0)
    with pytest.raises(DataError, match=r"4 images are there twice, the first as .*apple.* and as .*quince"):
        made(tmp_path)


def test_links_to_folders_elsewhere_are_followed(tmp_path):
    tree(tmp_path / "far/a", 4)
    tree(tmp_path / "far/b", 2)
    (tmp_path / "near").mkdir()
    os.symlink(tmp_path / "far/a", tmp_path / "near/train")
    os.symlink(tmp_path / "far/b", tmp_path / "near/test")
    assert sizes(made(tmp_path / "near")) == (8, 4, 4)


def test_an_image_in_two_parts_is_refused(tmp_path):
    tree(tmp_path / "train", 4)
    tree(tmp_path / "test", 2)
    (tmp_path / "test/apple/apple_0.JPEG").unlink()
    os.symlink(tmp_path / "train/apple/apple_0.JPEG", tmp_path / "test/apple/apple_0.JPEG")
    with pytest.raises(DataError, match=r"1 image is there twice, .* \(training\) and as .* \(test\)"):
        made(tmp_path)


def test_a_copy_in_two_parts_is_refused_and_within_one_said(tmp_path):
    tree(tmp_path / "train", 4)
    tree(tmp_path / "test", 2)
    assert "cop" not in made(tmp_path).describe()
    shutil.copy(tmp_path / "test/pear/pear_0.JPEG", tmp_path / "test/pear/other.jpg")
    said = made(tmp_path).describe()
    assert re.search(r"1 image is a copy of another one: .*pear_0.JPEG \(test\) of .*other.jpg \(test\)", said)
    (tmp_path / "test/pear/other.jpg").unlink()
    for name in ("apple_0.JPEG", "apple_1.JPEG"):
        shutil.copy(tmp_path / "train/apple" / name, tmp_path / "test/pear" / f"new_{name}")
    with pytest.raises(DataError, match=r"2 images are copies, the first .* \(test\) of .* \(training\); remove"):
        made(tmp_path)
    made(tmp_path, check=False)


def test_images_of_one_size_are_no_copies(tmp_path):
    (tmp_path / "a").write_bytes(b"one" + bytes(10_000))
    (tmp_path / "b").write_bytes(b"two" + bytes(10_000))  # with the same end, too
    (tmp_path / "c").write_bytes(b"")
    (tmp_path / "d").write_bytes(b"")
    parts = {"training": Records((str(path), 0, None) for path in sorted(tmp_path.iterdir()))}
    assert find_copies(parts) == []
    (tmp_path / "b").write_bytes(b"one" + bytes(10_000))
    assert [(one[0][-1], other[0][-1]) for one, other in find_copies(parts)] == [("a", "b")]


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    tree(tmp_path / "train", 2)
    tree(tmp_path / "test", 2)
    whole = os.scandir

    def denied(path):  # tests may run as root, whom permissions do not stop
        if str(path).endswith("pear"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(DataError, match=r"train/pear cannot be read \(Permission denied\); mend that"):
        made(tmp_path)
