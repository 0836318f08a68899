"""Every dataset of files, on a small copy in its official layout: what is right loads, what is wrong is named."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision.datasets import imagenet

from datamodules.augmented import FileSource
from datamodules.datasets import DATASETS, create_datamodule
from datamodules.decoding import decode
from datamodules.location import Archive
from gcp.errors import DataError
from gcp.registry import resolve
from tests.datamodules import fabricate
from tests.datamodules.fabricate import CLASSES, FABRICATED, OFFICIAL, TEST, TRAIN

OF_FILES = fabricate.of_files()
WITH_LISTS = {  # a list or a folder that each has, and an image of it
    "cub": ("train_test_split.txt", "images/001.Black_footed_Albatross/*.jpg"),
    "aircraft": ("data/images_variant_trainval.txt", "data/images/*.jpg"),
    "cars": ("devkit/cars_train_annos.mat", "cars_train/*.jpg"),
    "dogs": ("train_list.mat", "Images/*/*.jpg"),
    "flowers": ("setid.mat", "jpg/*.jpg"),
    "pets": ("annotations/trainval.txt", "images/*.jpg"),
    "dtd": ("labels/train1.txt", "images/banded/*.jpg"),
    "elpv": ("labels.csv", "images/*.png"),
}
IN_MEMORY = ("cifar10", "cifar100", "fashion_mnist")
UNREAD = ("family", "manufacturer", "families", "2.txt")  # in names of lists of other levels and divisions


@pytest.fixture(autouse=True)
def _the_copies_are_what_was_published(monkeypatch):
    fabricate.stand_in(monkeypatch)


def made(name, root, **options):
    module = create_datamodule(name, root=str(root), image_size=32, batch_size=2, **options)
    module.setup()
    return module


@pytest.fixture
def copy(tmp_path):
    def make(name):
        FABRICATED[name](tmp_path / "data")
        return tmp_path / "data"

    return make


def labels_of(dataset):
    return dataset.source.records.labels.tolist()


def test_every_dataset_of_files_is_tested():
    assert set(OF_FILES) == set(FABRICATED)


@pytest.mark.parametrize("name", OF_FILES)
def test_a_copy_loads(name, copy):
    data, known = made(name, copy(name)), OFFICIAL[name]
    splits = data.splits
    assert data.num_classes == known.classes == len(set(data.class_names))
    assert len(splits.train) == known.train
    assert len(splits.test) == known.test
    for part in splits:
        assert set(labels_of(part)) == set(range(known.classes))
        for position in range(len(part)):
            image, label = part[position]
            assert image.shape == (3, 32, 32)
            assert image.dtype == torch.float32
            assert image.isfinite().all()
            assert label == labels_of(part)[position]
    images, labels = next(iter(data.train_dataloader()))
    assert images.shape == (2, 3, 32, 32)
    assert labels.dtype == torch.int64


NAMED = {
    "cub": "Laysan Albatross",
    "aircraft": "A300B4",
    "dogs": "Maltese dog",
    "pets": "american bulldog",
    "cars": "Acura RL Sedan 2012",
}


@pytest.mark.parametrize("name", NAMED)
def test_class_names(name, copy):
    assert NAMED[name] in made(name, copy(name)).class_names


def test_levels_of_aircraft_and_blanks_in_names(copy):
    root = copy("aircraft")
    assert made("aircraft", root, level="manufacturer").class_names[2] == "McDonnell Douglas"
    assert made("aircraft", root, level="family").class_names[0] == "Boeing 707"


def test_the_banner_is_cut_off_aircraft(copy):
    root = copy("aircraft")
    whole = made("aircraft", root).splits.test.source[0][0]
    cut = made("aircraft", root, crop_banner=True).splits.test.source[0][0]
    assert torch.equal(cut, whole[:, :-20])


@pytest.mark.parametrize(("name", "layout"), [("cars", fabricate.cars_single), ("dogs", fabricate.dogs_lists)])
def test_the_other_layouts(name, layout, tmp_path):
    layout(tmp_path)
    data = made(name, tmp_path)
    assert (len(data.splits.train), len(data.splits.test)) == (CLASSES * TRAIN, CLASSES * TEST)
    assert labels_of(data.splits.train) == [label for label in range(CLASSES) for _ in range(TRAIN)]


def test_labels_of_cars_in_the_devkit(tmp_path):
    fabricate.cars(tmp_path)
    (tmp_path / "cars_test_annos_withlabels.mat").rename(tmp_path / "devkit/cars_test_annos_withlabels.mat")
    assert len(made("cars", tmp_path).splits.test) == CLASSES * TEST


def test_dogs_cut_to_their_boxes(copy):
    root = copy("dogs")
    whole = made("dogs", root).splits.train.source[0][0]
    assert torch.equal(made("dogs", root, crop_to_box=True).splits.train.source[0][0], whole[:, 6:30, 5:25])
    shutil.rmtree(root / "Annotation")
    with pytest.raises(DataError, match=r"needs the annotation .*Annotation"):
        made("dogs", root, crop_to_box=True)


def test_flowers_validate_on_their_own_part(copy):
    data = made("flowers", copy("flowers"))
    assert len(data.splits.val) == CLASSES
    assert {record.path for record in data.splits.val.source.records}.isdisjoint(
        record.path for record in data.splits.test.source.records
    )


def test_divisions_of_dtd(tmp_path):
    fabricate.dtd(tmp_path)
    modules = {split: create_datamodule("dtd", root=str(tmp_path), split=split, check=False) for split in (1, 2, 3)}
    for split in (1, 2):
        modules[split].setup()
    assert list(modules[1].splits.val.source.records) == list(modules[2].splits.train.source.records)
    with pytest.raises(DataError, match=r"train3\.txt cannot be read"):
        modules[3].setup()


@pytest.mark.parametrize("name", OF_FILES)
def test_holding_out_divides_the_training_images(name, copy):
    root = copy(name)
    whole, data = made(name, root), made(name, root, holdout=0.25)
    again = made(name, root, holdout=0.25, seed=5)
    train, val, all_of_it = (
        list(split.source.records) for split in (data.splits.train, data.splits.val, whole.splits.train)
    )
    assert sorted([*train, *val]) == sorted(all_of_it)
    assert set(labels_of(data.splits.val)) == set(range(OFFICIAL[name].classes))
    assert list(again.splits.val.source.records) == val  # the run's seed leaves it alone
    assert list(made(name, root, holdout=0.25, holdout_seed=1).splits.val.source.records) != val or name == "flowers"


def test_holding_out_too_little(copy):
    with pytest.raises(DataError, match=r"data.holdout=0.1 holds out 0 images of 12, .*choose another fraction"):
        made("cub", copy("cub"), holdout=0.1)


def test_the_environment_names_the_folder_of_all_datasets(tmp_path, monkeypatch):
    fabricate.pets(tmp_path / "pets")
    monkeypatch.setenv("GCP_DATA", str(tmp_path))
    data = create_datamodule("pets", image_size=8)
    data.setup()
    assert data.num_classes == CLASSES
    monkeypatch.delenv("GCP_DATA")
    with pytest.raises(DataError, match=r"set data\.root to their folder, or the environment variable GCP_DATA"):
        create_datamodule("pets").setup()


@pytest.mark.parametrize("name", OF_FILES)
def test_nothing_there(name, tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path / 'none'}.*does not exist"):
        made(name, tmp_path / "none")


@pytest.mark.parametrize("name", sorted(WITH_LISTS))
def test_a_list_that_is_missing_or_unreadable(name, copy):
    root = copy(name)
    file = root / WITH_LISTS[name][0]
    file.write_bytes(b"\xff\xfe no list")
    with pytest.raises(DataError, match=file.name):
        made(name, root)
    file.unlink()
    with pytest.raises(DataError, match=f"{file.name}.*(restore|put)"):
        made(name, root)


def spoilt(whole, text):
    """What may have become of a list."""
    yield from (
        b"",
        whole[: len(whole) // 2],
        whole.split(b"\n")[0],
        whole.replace(b" ", b""),
        whole.replace(b"1", b"0"),
    )
    if text:  # scipy would take random numbers for sizes
        yield bytes(np.random.default_rng(0).permutation(np.frombuffer(whole, np.uint8)))


def complaint(name, root):
    """The sentence of the DataError that loading ends with, none if it loads."""
    try:
        made(name, root)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", sorted(WITH_LISTS))
def test_whatever_is_wrong_with_a_list_is_one_sentence(name, copy):
    root = copy(name)
    lists = [file for file in root.rglob("*") if file.suffix in (".txt", ".mat", ".csv")]
    for file in lists:
        if any(part in file.name for part in UNREAD):
            continue
        whole = file.read_bytes()
        complaints = []
        for content in spoilt(whole, text=file.suffix != ".mat"):
            file.write_bytes(content)
            complaints.append(complaint(name, root))
        assert complaints[0] is not None  # an empty list
        assert not any("\n" in each for each in complaints if each)
        file.write_bytes(whole)
    assert complaint(name, root) is None


def test_lists_that_do_not_go_together(copy):
    root = copy("cub")
    file = root / "image_class_labels.txt"
    file.write_text("\n".join(file.read_text().splitlines()[1:]))
    with pytest.raises(DataError, match=r"image_class_labels.txt .*other lists differ in 1 numbers: 18\)"):
        made("cub", root)
    root = copy("aircraft")
    file = root / "data/images_variant_test.txt"
    file.write_text(file.read_text().replace("A300B4", "A300B5"))
    with pytest.raises(DataError, match=r"images_variant_test.txt .*unknown entry 'A300B5'"):
        made("aircraft", root)


def test_labels_of_the_test_part_that_were_not_published(copy):
    root = copy("cars")
    bare = np.array([[(1, "00001.jpg")]], dtype=[("bbox_x1", object), ("fname", object)])
    savemat(root / "cars_test_annos_withlabels.mat", {"annotations": bare})
    with pytest.raises(DataError, match=r"cars_test_annos_withlabels.mat is not as it was published \(no field"):
        made("cars", root)


@pytest.mark.parametrize("name", sorted(WITH_LISTS))
def test_an_image_that_is_missing(name, copy):
    root = copy(name)
    image = sorted(root.glob(WITH_LISTS[name][1]))[0]
    image.unlink()
    with pytest.raises(DataError, match=f"1 of .* images are not there: .*{image.name}"):
        made(name, root)


@pytest.mark.parametrize("backend", ["torchvision", "pil"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("name", [name for name in OF_FILES if name not in IN_MEMORY])
def test_a_truncated_image_is_named_when_it_is_met(name, share, backend, copy):
    root = copy(name)
    image = sorted(file for file in root.rglob("*.[jJpP]*") if file.read_bytes().startswith((b"\xff\xd8", b"\x89PNG")))[
        0
    ]
    image.write_bytes(image.read_bytes()[: int(share * image.stat().st_size)])
    data = made(name, root, decode_backend=backend)
    with pytest.raises(DataError, match=rf"{image.name} is (damaged|not an image)"):
        [part[position] for part in data.splits for position in range(len(part))]


def test_a_file_of_cifar_that_is_missing(copy):
    root = copy("cifar10")
    (root / "cifar-10-batches-py/data_batch_3").unlink()
    with pytest.raises(DataError, match=r"cifar-10-batches-py lacks a file, .*delete the folder"):
        made("cifar10", root)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_copy_among_the_images_of_cifar(name, check, copy, monkeypatch):
    """Copies are looked for among files; of these images every byte has to be as it was published."""
    root = copy(name)
    reader = resolve(DATASETS.get(name).datamodule).reader
    folder = root / reader.base_folder
    for part in ("train_list", "test_list"):
        sums = [(file, hashlib.md5((folder / file).read_bytes()).hexdigest()) for file, _ in getattr(reader, part)]
        monkeypatch.setattr(reader, part, sums)
    made(name, root, check=check)
    for file in (reader.train_list[0][0], reader.test_list[0][0]):
        whole = (folder / file).read_bytes()
        contents = pickle.loads(whole)
        contents["data"][0] = contents["data"][1]
        (folder / file).write_bytes(pickle.dumps(contents))
        with pytest.raises(DataError, match="or one has another MD5 sum than was published"):
            made(name, root, check=check)
        (folder / file).write_bytes(whole)


def test_a_box_that_cuts_out_nothing(copy):
    root = copy("dogs")
    file = next(root.glob("Annotation/*/*"))
    file.write_text(file.read_text().replace(">25<", ">5<"))
    data = made("dogs", root, crop_to_box=True)
    with pytest.raises(DataError, match=rf"the box \(5, 6, 5, 30\) cuts nothing out of .*{file.name}"):
        [part[position] for part in data.splits for position in range(len(part))]


@pytest.mark.parametrize("name", ["imagenet", "folder"])
def test_an_empty_class_folder(name, copy):
    root = copy(name)
    empty = next((root / "train").iterdir())
    for image in empty.iterdir():
        image.unlink()
    with pytest.raises(DataError, match=empty.name):
        made(name, root)


def test_a_class_without_training_images(copy):
    root = copy("cub")
    split = root / "train_test_split.txt"
    lines = split.read_text().splitlines()
    split.write_text("\n".join(line.split()[0] + " 0" if int(line.split()[0]) <= 6 else line for line in lines))
    with pytest.raises(DataError, match=r"1 of 3 classes have no training image: Black footed Albatross"):
        made("cub", root)


def test_other_classes_in_the_test_part(copy):
    root = copy("folder")
    (root / "test/apple").rename(root / "test/quince")
    with pytest.raises(DataError, match="apple, quince"):
        made("folder", root)


def test_a_single_tree_is_divided(tmp_path):
    fabricate._tree(tmp_path, ["a", "b"], 5, 0)
    with pytest.raises(DataError, match=r"data.test_fraction=0.01 holds out 0 images of \d+, .*another fraction"):
        made("folder", tmp_path, test_fraction=0.01)
    data = made("folder", tmp_path, test_fraction=0.4)
    assert (len(data.splits.train), len(data.splits.test)) == (6, 4)


@pytest.mark.parametrize("name", [name for name in OF_FILES if name != "folder"])
def test_a_root_one_level_up_or_down(name, tmp_path):
    root = tmp_path / "some/where"
    FABRICATED[name](root)
    inside = sorted(path for path in root.iterdir() if path.is_dir())[0]
    for wrong in (root.parent, inside):
        with pytest.raises(DataError, match=f"set data.root={root}$"):
            made(name, wrong)


def test_a_folder_of_ones_own_one_level_up_or_down(tmp_path):
    fabricate.folder(tmp_path / "some/where")
    for wrong in ("some", "some/where/train", "some/where/train/apple"):
        with pytest.raises(DataError, match=f"but in {tmp_path}/some/where; set data.root="):
            made("folder", tmp_path / wrong)


def test_a_single_class_is_none(tmp_path):
    fabricate._tree(tmp_path, ["a"], 5, 0)
    with pytest.raises(DataError, match="one class only, 'a'"):
        made("folder", tmp_path)


# Archives


def packed(name, tmp_path, monkeypatch):
    """A folder with archives of a copy, laid out as the official ones are; their sums are not the published ones."""
    module = resolve(DATASETS.get(name).datamodule)
    folder = tmp_path / "unpacked"
    inner = folder / module.layout.folder if name in ("cub", "aircraft", "dtd") else folder
    FABRICATED[name](inner)
    root = tmp_path / "data"
    root.mkdir()
    tops = {
        "images.tar": ["Images"],
        "lists.tar": ["train_list.mat", "test_list.mat"],
        "102flowers.tgz": ["jpg"],
        "images.tar.gz": ["images"],
        "annotations.tar.gz": ["annotations"],
        "cars_train.tgz": ["cars_train"],
        "cars_test.tgz": ["cars_test"],
        "car_devkit.tgz": ["devkit"],
    }
    for archive in module.layout.archives:
        if not archive.extracted:
            shutil.copy(next(folder.rglob(archive.file)), root)
            continue
        mode = "w" if archive.file.endswith(".tar") else "w:gz"
        with tarfile.open(root / archive.file, mode) as target:
            for top in tops.get(archive.file, sorted(path.name for path in folder.iterdir())):
                target.add(folder / top, top)
    unsummed = tuple(replace(archive, md5=None) for archive in module.layout.archives)
    monkeypatch.setattr(module, "layout", replace(module.layout, archives=unsummed))
    return root


ARCHIVED = [name for name in OF_FILES if resolve(DATASETS.get(name).datamodule).layout.archives]


@pytest.mark.parametrize("name", ARCHIVED)
def test_archives_are_extracted(name, tmp_path, monkeypatch):
    root = packed(name, tmp_path, monkeypatch)
    data = made(name, root)
    assert data.num_classes == OFFICIAL[name].classes
    assert not list(root.glob(".extracting*"))
    assert made(name, root).num_classes == OFFICIAL[name].classes  # from what was extracted


@pytest.mark.parametrize("name", ARCHIVED)
def test_a_damaged_archive(name, tmp_path, monkeypatch):
    root = packed(name, tmp_path, monkeypatch)
    archive = root / resolve(DATASETS.get(name).datamodule).layout.archives[0].file
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 3])
    with pytest.raises(DataError, match=f"{archive.name} is damaged"):
        made(name, root)
    assert not list(root.glob(".extracting*"))


def test_an_archive_with_another_sum(tmp_path, monkeypatch):
    root = packed("cub", tmp_path, monkeypatch)
    module = resolve(DATASETS.get("cub").datamodule)
    wrong = (Archive("CUB_200_2011.tgz", "0" * 32),)
    monkeypatch.setattr(module, "layout", replace(module.layout, archives=wrong))
    with pytest.raises(DataError, match=r"MD5 sum is .*expected 0+; delete it and fetch it again"):
        made("cub", root)


def test_the_single_archive_of_cars(tmp_path):
    fabricate.cars_single(tmp_path / "unpacked")
    (tmp_path / "data").mkdir()
    (tmp_path / "unpacked/cars_annos.mat").rename(tmp_path / "data/cars_annos.mat")
    with tarfile.open(tmp_path / "data/car_ims.tgz", "w:gz") as target:
        target.add(tmp_path / "unpacked/car_ims", "car_ims")
    assert len(made("cars", tmp_path / "data").splits.test) == CLASSES * TEST


@pytest.fixture
def official(tmp_path, monkeypatch):
    """ImageNet's archives; torchvision's table of published sums gets those of the copies."""
    fabricate.imagenet_archives(tmp_path / "data")
    for part, (name, _) in imagenet.ARCHIVE_META.items():
        digest = hashlib.md5((tmp_path / "data" / name).read_bytes()).hexdigest()
        monkeypatch.setitem(imagenet.ARCHIVE_META, part, (name, digest))
    return tmp_path / "data"


def test_the_official_archives_of_imagenet_are_extracted(official):
    data = made("imagenet", official)
    assert data.class_names == ["n01440764", "n01443537", "n01484850"]
    assert labels_of(data.splits.train) == [label for label in range(CLASSES) for _ in range(TRAIN)]
    places = {record.path.name: record.label for record in data.splits.test.source.records}
    assert places == {f"ILSVRC2012_val_{number + 1:08d}.JPEG": number % CLASSES for number in range(CLASSES * TEST)}
    assert not list(official.glob("**/*.tar.*/*"))
    assert not list(official.glob(".extracting*"))


def test_only_what_is_missing_of_imagenet_is_extracted(official):
    made("imagenet", official)
    shutil.rmtree(official / "val")
    (official / "ILSVRC2012_img_train.tar").unlink()
    assert len(made("imagenet", official).splits.test) == CLASSES * TEST


def test_the_official_archives_of_imagenet_belong_together(official):
    (official / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    with pytest.raises(
        DataError, match=r"has ILSVRC2012_img_train.tar, .*val.tar but not ILSVRC2012_devkit_t12.tar.gz"
    ):
        made("imagenet", official)


@pytest.mark.parametrize("part", ["train", "val", "devkit"])
def test_a_damaged_archive_of_imagenet(official, part):
    archive = official / imagenet.ARCHIVE_META[part][0]
    archive.write_bytes(archive.read_bytes()[:-600])
    with pytest.raises(DataError, match=f"{archive.name} is damaged or another file"):
        made("imagenet", official)
    assert not (official / ("train" if part == "train" else "val")).exists()


def test_names_of_the_thousand_classes(tmp_path):
    for number in range(1000):
        for part in ("train", "val"):
            (tmp_path / part / f"n{number:08d}").mkdir(parents=True)
            (tmp_path / part / f"n{number:08d}/image.JPEG").touch()
    names = made("imagenet", tmp_path, check=False).class_names
    assert (names[0], names[999], len(set(names))) == ("tench", "toilet tissue", 1000)


# Reading


@pytest.mark.parametrize("backend", ["torchvision", "pil"])
def test_every_kind_of_image_becomes_rgb(backend, tmp_path):
    from PIL import Image

    ramp = torch.arange(64, dtype=torch.uint8).reshape(8, 8).numpy()
    for mode in ("L", "LA", "RGB", "RGBA", "P", "CMYK", "1", "I;16"):
        ending = "jpg" if mode == "CMYK" else "png"
        file = tmp_path / f"{mode.replace(';', '')}.{ending}"
        image = Image.fromarray(ramp.astype("uint16") * 256) if mode == "I;16" else Image.fromarray(ramp).convert(mode)
        image.save(file)
        decoded = decode(file, backend)
        assert decoded.shape == (3, 8, 8)
        assert decoded.dtype == torch.uint8
        if mode not in ("1", "CMYK", "P"):
            assert torch.equal(decoded[0], torch.from_numpy(ramp)), mode


def test_the_backends_agree(tmp_path):
    files = []
    for number in range(8):
        files.append(tmp_path / f"{number}.jpg")
        fabricate.picture(files[-1], number)
    for file in files:
        # two builds of libjpeg differ by a rounding or two of the colour conversion
        difference = decode(file, "torchvision").int() - decode(file, "pil").int()
        assert difference.abs().max() <= 4


def test_a_file_source_names_what_is_gone(tmp_path):
    from datamodules.records import Record

    with pytest.raises(DataError, match=r"gone\.jpg cannot be read"):
        FileSource([Record(Path(tmp_path / "gone.jpg"), 0)], "pil")[0]
