"""Datasets that are not what was published, in ways that used to pass: each is refused, before anything is trained."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from datamodules.datasets import DATASETS, create_datamodule
from datamodules.location import Archive
from gcp.errors import DataError
from gcp.registry import resolve
from tests.datamodules import fabricate
from tests.datamodules.fabricate import FABRICATED, OFFICIAL
from tests.slow import slow_unless

NUMBERS = {  # as the papers and pages of the datasets have them
    "cub": (200, 5994, 5794, 0),
    "aircraft": (100, 6667, 3333, 0),
    "cars": (196, 8144, 8041, 0),
    "dogs": (120, 12000, 8580, 0),
    "flowers": (102, 1020, 6149, 1020),
    "pets": (37, 3680, 3669, 0),
    "imagenet": (1000, 1281167, 50000, 0),
    "cifar10": (10, 50000, 10000, 0),
    "cifar100": (100, 50000, 10000, 0),
    "fashion_mnist": (10, 60000, 10000, 0),
    "dtd": (47, 1880, 1880, 1880),
    "elpv": (2, 1575, 525, 524),  # 2,624 images; the division is ours
}


@pytest.mark.parametrize("name", fabricate.of_files())
def test_official_numbers(name):
    official = create_datamodule(name).official
    if name not in NUMBERS:
        assert official is None
        return
    assert (official.classes, official.train, official.test, official.val) == NUMBERS[name]
    assert official.classes == DATASETS.get(name).num_classes


@pytest.mark.parametrize(("level", "classes"), [("variant", 100), ("family", 70), ("manufacturer", 30)])
def test_classes_of_aircraft(level, classes):
    assert create_datamodule("aircraft", level=level).official.classes == classes


def made(name, root, **options):
    module = create_datamodule(name, root=str(root), image_size=32, batch_size=2, **options)
    module.setup()
    return module


@pytest.fixture
def copy(tmp_path, monkeypatch):
    fabricate.stand_in(monkeypatch)

    def make(name):
        FABRICATED[name](tmp_path / "data")
        assert made(name, tmp_path / "data").num_classes == OFFICIAL[name].classes
        return tmp_path / "data"

    return make


@pytest.mark.parametrize("name", slow_unless(set(NUMBERS) - {"cars", "dogs", "flowers"}, NUMBERS))
def test_a_subset_is_one_on_purpose_or_refused(copy, name, monkeypatch):
    root = copy(name)
    module = resolve(DATASETS.get(name).datamodule)
    for more in ({"train": 1}, {"test": 1}, {"val": 1}, {"classes": 1}):
        wrong = {field: getattr(OFFICIAL[name], field) + number for field, number in more.items()}
        monkeypatch.setattr(module, "official", replace(OFFICIAL[name], **wrong))
        with pytest.raises(DataError, match=f"this is not '{name}' as it was published.*data.check=off"):
            made(name, root)
        made(name, root, check=False)


def halve(file):
    """A list of text or MATLAB's, cut in half."""
    if file.suffix != ".mat":
        lines = file.read_text().splitlines()
        file.write_text("\n".join(lines[: len(lines) // 2]))
        return
    contents = {key: value for key, value in loadmat(file).items() if not key.startswith("_")}
    savemat(file, {key: value.reshape(-1)[: value.size // 2].reshape(-1, 1) for key, value in contents.items()})


LISTS = [
    ("aircraft", "data/images_variant_trainval.txt"),
    ("aircraft", "data/images_variant_test.txt"),
    ("dogs", "train_list.mat"),
    ("dogs", "test_list.mat"),
    ("pets", "annotations/trainval.txt"),
    ("pets", "annotations/test.txt"),
    ("cars", "devkit/cars_train_annos.mat"),
    ("cars", "cars_test_annos_withlabels.mat"),
    ("dtd", "labels/train1.txt"),
    ("dtd", "labels/val1.txt"),
    ("elpv", "labels.csv"),
]


@pytest.mark.parametrize(("name", "file"), LISTS)
def test_a_list_cut_in_half(copy, name, file):
    root = copy(name)
    halve(root / file)
    with pytest.raises(DataError, match=r"as it was published|have no training image"):
        made(name, root)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("aircraft", "data/images_variant_trainval.txt", "data/images_variant_test.txt"),
     ("pets", "annotations/trainval.txt", "annotations/test.txt"),
     ("dtd", "labels/train1.txt", "labels/test1.txt")],
)  # fmt: skip
def test_training_images_in_the_test_list(copy, name, train, test):
    root = copy(name)
    lines = (root / test).read_text().splitlines()
    (root / test).write_text("\n".join([(root / train).read_text().splitlines()[0], *lines[1:]]))
    with pytest.raises(DataError, match=r"1 image is there twice, as .* \(training\) and as .* \(test\)"):
        made(name, root)
    (root / test).write_text("\n".join([lines[1], *lines[1:]]))
    with pytest.raises(DataError, match=r"1 image is there twice, as .* \(test\) and as .* \(test\)"):
        made(name, root)


def test_the_same_content_in_training_and_test_is_said(copy):
    root = copy("pets")
    files = [(root / "annotations" / name).read_text().split()[0] for name in ("trainval.txt", "test.txt")]
    one, other = (root / "images" / f"{file}.jpg" for file in files)
    assert "cop" not in made("pets", root).describe()
    other.write_bytes(one.read_bytes())
    assert f"1 image is a copy of another one: {other} (test) of {one} (training)" in made("pets", root).describe()
    assert "cop" not in made("pets", root, check=False).describe()


def test_a_number_of_cub_that_is_there_twice(copy):
    root = copy("cub")
    for file in ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt"):
        whole = (root / file).read_text()
        (root / file).write_text(whole + whole.splitlines()[-1] + "\n")
        with pytest.raises(DataError, match=rf"{file} is not as it was published \(it has the number \d+ twice\)"):
            made("cub", root)
        (root / file).write_text(whole)


def test_labels_of_cub_cut_in_mid_line(copy):
    root = copy("cub")
    file = root / "image_class_labels.txt"
    file.write_text(file.read_text().replace(" 3\n", " 1\n"))  # as of " 200" and " 2"
    with pytest.raises(DataError, match=r"have no training image|file names and labels disagree"):
        made("cub", root)
    file.write_text(file.read_text()[: len(file.read_text()) // 2])
    with pytest.raises(DataError, match=r"differ in|not as it was published"):
        made("cub", root)


def shuffled(labels):
    return np.random.default_rng(3).permutation(labels.reshape(-1)).reshape(labels.shape)


def rewrite(file, change):
    contents = {key: value for key, value in loadmat(file).items() if not key.startswith("_")}
    savemat(file, contents | {"labels": change(contents["labels"])})


def test_shuffled_labels_of_dogs(copy):
    root = copy("dogs")
    rewrite(root / "train_list.mat", shuffled)
    with pytest.raises(DataError, match=r"file names and labels disagree about \d+ images, first .*n020.*restore"):
        made("dogs", root)


@pytest.mark.parametrize("name", ["cub", "pets"])
def test_two_labels_that_changed_places(copy, name):
    root = copy(name)
    file = root / {"cub": "image_class_labels.txt", "pets": "annotations/test.txt"}[name]
    lines = [line.split() for line in file.read_text().splitlines()]
    lines[0][1], lines[-1][1] = lines[-1][1], lines[0][1]
    file.write_text("\n".join(map(" ".join, lines)))
    with pytest.raises(DataError, match="file names and labels disagree about 2 images"):
        made(name, root)


def test_an_image_of_imagenet_in_the_folder_of_another_class(copy):
    root = copy("imagenet")
    image = next((root / "train/n01440764").iterdir())
    image.rename(root / "train/n01443537" / image.name)
    with pytest.raises(DataError, match="file names and labels disagree about 1 images"):
        made("imagenet", root)


def test_shuffled_labels_of_flowers(copy, monkeypatch):
    root = copy("flowers")
    module = resolve(DATASETS.get("flowers").datamodule)
    names = ("imagelabels.mat", "setid.mat")
    known = [Archive(name, hashlib.md5((root / name).read_bytes()).hexdigest(), extracted=False) for name in names]
    monkeypatch.setattr(module, "layout", replace(module.layout, archives=tuple(known)))
    made("flowers", root)
    rewrite(root / "imagelabels.mat", shuffled)
    with pytest.raises(DataError, match=r"imagelabels\.mat is damaged or another file: its MD5 sum"):
        made("flowers", root)
    made("flowers", root, check=False)


@pytest.mark.parametrize("label", [0, 4, 121, 200, 10**9])
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", ["dogs", "pets", "cub", "flowers"])
def test_labels_out_of_range(copy, name, label, check):
    if (name, label, check) == ("flowers", 4, False):
        pytest.skip("102 names are known, so that a fourth class is a larger subset")
    root = copy(name)
    files = {"cub": "image_class_labels.txt", "pets": "annotations/test.txt", "dogs": "test_list.mat"}
    file = root / files.get(name, "imagelabels.mat")
    if file.suffix == ".mat":
        rewrite(
            file, lambda labels: np.where(np.arange(labels.size).reshape(labels.shape) == 0, label, labels.astype(int))
        )
    else:
        lines = [line.split() for line in file.read_text().splitlines()]
        lines[0][1] = str(label)
        file.write_text("\n".join(map(" ".join, lines)))
    with pytest.raises(DataError) as caught:
        made(name, root, check=check)
    assert "\n" not in str(caught.value)


def test_a_label_that_no_integer_holds(copy):
    root = copy("pets")
    file = root / "annotations/test.txt"
    file.write_text(file.read_text().replace(" 1 1 1", f" {10**30} 1 1", 1))
    with pytest.raises(DataError, match=r"label|published"):
        made("pets", root, check=False)


HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
MATLAB = [
    ("cars", "devkit/cars_meta.mat"),
    ("cars", "devkit/cars_train_annos.mat"),
    ("cars", "cars_test_annos_withlabels.mat"),
    ("dogs", "train_list.mat"),
    ("flowers", "setid.mat"),
    ("flowers", "imagelabels.mat"),
]


@pytest.mark.parametrize(("name", "file"), slow_unless([("dogs", "train_list.mat")], MATLAB))
def test_a_web_page_or_damage_in_the_place_of_a_list_of_matlab(copy, name, file):
    root = copy(name)
    whole = (root / file).read_bytes()
    (root / file).write_bytes(b"\n " + HTML)
    with pytest.raises(DataError, match="is a web page, not a MATLAB file; delete it and fetch the file itself"):
        made(name, root)
    generator = np.random.default_rng(4)
    for _ in range(6):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 3):
            damaged[place] ^= int(generator.integers(1, 256))
        (root / file).write_bytes(damaged)
        with suppress(DataError):  # nothing else
            made(name, root)


def test_a_list_that_cannot_be_read(copy, monkeypatch):
    root = copy("pets")
    file = root / "annotations/test.txt"
    file.unlink()
    file.mkdir()
    with pytest.raises(DataError, match=r"annotations/test\.txt cannot be read"):
        made("pets", root)
