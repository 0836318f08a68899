"""Small copies of the datasets in their official layouts: a few tiny images, official names and formats of files."""

from __future__ import annotations

import gzip
import pickle
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from torchvision import datasets as tv

from datamodules.datasets import DATASETS
from datamodules.files import FileDataModule
from datamodules.official import Official
from gcp.registry import resolve

CLASSES, TRAIN, TEST = 3, 4, 2  # per class
MODES = ("RGB", "L", "CMYK", "P")  # one after the other


def picture(path: Path, number: int, size: tuple[int, int] = (40, 32)) -> None:
    """A JPEG (palette images: a GIF under that name, as ImageNet has a PNG) of structured noise."""
    noise = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = MODES[number % len(MODES)]
    image = Image.fromarray(noise).convert(mode)
    image.save(path, format="GIF" if mode == "P" else "JPEG")


def _numbered() -> list[tuple[int, bool]]:
    """(label, whether to train on it) of each image."""
    return [(label, place < TRAIN) for label in range(CLASSES) for place in range(TRAIN + TEST)]


def cub(root: Path) -> None:
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross"]
    images, labels, split = [], [], []
    for number, (label, train) in reversed(list(enumerate(_numbered(), 1))):  # lists may be in any order
        file = f"{names[label]}/{names[label][4:]}_{number:04d}.jpg"
        picture(root / "images" / file, number)
        images.append(f"{number} {file}")
        labels.append(f"{number} {label + 1}")
        split.insert(0, f"{number} {int(train)}")
    (root / "images.txt").write_text("\n".join(images) + "\n")
    (root / "image_class_labels.txt").write_text("\n".join(labels) + "\n")
    (root / "train_test_split.txt").write_text("\n".join(split) + "\n")
    (root / "classes.txt").write_text("".join(f"{k} {name}\n" for k, name in enumerate(names, 1)))


def aircraft(root: Path) -> None:
    names = {"variant": ["707-320", "A300B4", "DC-9-30"], "family": ["Boeing 707", "A300", "DC-9"]}
    names["manufacturer"] = ["Boeing", "Airbus", "McDonnell Douglas"]
    plural = {"variant": "variants", "family": "families", "manufacturer": "manufacturers"}
    for level, values in names.items():
        (root / "data").mkdir(parents=True, exist_ok=True)
        (root / "data" / f"{plural[level]}.txt").write_text("\n".join(values) + "\n")
        parts: dict[str, list[str]] = {"trainval": [], "test": []}
        for number, (label, train) in enumerate(_numbered()):
            picture(root / "data/images" / f"{number:07d}.jpg", number, (40, 52))
            parts["trainval" if train else "test"].append(f"{number:07d} {values[label]}")
        for part, content in parts.items():
            (root / "data" / f"images_{level}_{part}.txt").write_text("\n".join(content) + "\n")


def _annotations(root: Path, folder: str, train: bool) -> np.ndarray:
    dtype = [(name, object) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
    rows = []
    chosen = [label for label, part in _numbered() if part == train]
    for number, label in enumerate(chosen, 1):
        picture(root / folder / f"{number:05d}.jpg", number)
        rows.append((1, 1, 20, 20, label + 1, f"{number:05d}.jpg"))
    return np.array(rows, dtype=dtype).reshape(1, -1)


CARS = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Acura TL Sedan 2012"]


def cars(root: Path) -> None:
    train, test = _annotations(root, "cars_train", True), _annotations(root, "cars_test", False)
    (root / "devkit").mkdir()
    savemat(root / "devkit/cars_meta.mat", {"class_names": np.array(CARS, dtype=object)})
    savemat(root / "devkit/cars_train_annos.mat", {"annotations": train})
    savemat(root / "cars_test_annos_withlabels.mat", {"annotations": test})


def cars_single(root: Path) -> None:
    dtype = [(name, object) for name in ("relative_im_path", "bbox_x1", "class", "test")]
    rows = []
    for number, (label, train) in enumerate(_numbered(), 1):
        picture(root / "car_ims" / f"{number:06d}.jpg", number)
        rows.append((f"car_ims/{number:06d}.jpg", 1, label + 1, int(not train)))
    annotations = np.array(rows, dtype=dtype).reshape(1, -1)
    savemat(root / "cars_annos.mat", {"annotations": annotations, "class_names": np.array(CARS, dtype=object)})


def dogs(root: Path, lists: str = "", images: str = "Images") -> None:
    names = ["n02085620-Chihuahua", "n02085782-Japanese_spaniel", "n02085936-Maltese_dog"]
    parts: dict[bool, tuple[list[str], list[int]]] = {True: ([], []), False: ([], [])}
    for number, (label, train) in enumerate(_numbered()):
        file = f"{names[label]}/{names[label].split('-')[0]}_{number}.jpg"
        picture(root / images / file, number)
        annotation = root / "Annotation" / file.removesuffix(".jpg")
        annotation.parent.mkdir(parents=True, exist_ok=True)
        box = "<xmin>5</xmin><ymin>6</ymin><xmax>25</xmax><ymax>30</ymax>"
        annotation.write_text(f"<annotation><object><bndbox>{box}</bndbox></object></annotation>")
        parts[train][0].append(file)
        parts[train][1].append(label + 1)
    (root / lists).mkdir(parents=True, exist_ok=True)
    for train, (files, labels) in parts.items():
        contents = {
            "file_list": np.array(files, dtype=object).reshape(-1, 1),
            "labels": np.array(labels, dtype=np.uint8).reshape(-1, 1),
        }
        savemat(root / lists / f"{'train' if train else 'test'}_list.mat", contents)


def dogs_lists(root: Path) -> None:
    dogs(root, "lists", "images")


def flowers(root: Path) -> None:
    numbers: dict[str, list[int]] = {"trnid": [], "valid": [], "tstid": []}
    labels = []
    for number in range(1, 6 * CLASSES + 1):
        label = (number - 1) % CLASSES
        picture(root / "jpg" / f"image_{number:05d}.jpg", number)
        labels.append(label + 1)
        part = (number - 1) // CLASSES
        numbers["trnid" if part < 3 else "valid" if part == 3 else "tstid"].append(number)
    savemat(root / "imagelabels.mat", {"labels": np.array(labels, dtype=np.uint8).reshape(1, -1)})
    savemat(
        root / "setid.mat", {key: np.array(value, dtype=np.uint16).reshape(1, -1) for key, value in numbers.items()}
    )


def pets(root: Path) -> None:
    names = ["Abyssinian", "american_bulldog", "yorkshire_terrier"]
    parts: dict[bool, list[str]] = {True: [], False: []}
    for number, (label, train) in enumerate(_numbered()):
        picture(root / "images" / f"{names[label]}_{number}.jpg", number)
        parts[train].append(f"{names[label]}_{number} {label + 1} 1 1")
    (root / "annotations").mkdir(parents=True)
    (root / "annotations/trainval.txt").write_text("\n".join(parts[True]) + "\n")
    (root / "annotations/test.txt").write_text("\n".join(parts[False]) + "\n")


def _tree(folder: Path, names: list[str], each: int, first: int) -> None:
    for label, name in enumerate(names):
        for place in range(each):
            picture(folder / name / f"{name}_{place}.JPEG", first + label * each + place)


def imagenet(root: Path) -> None:
    names = ["n01440764", "n01443537", "n01484850"]
    _tree(root / "train", names, TRAIN, 0)
    _tree(root / "val", names, TEST, 100)


def imagenet_archives(root: Path) -> None:
    """The three official archives: a tar of tars, a tar of images, and the lists that say what these show."""
    work, names = root / "work", ["n01440764", "n01443537", "n01484850"]
    kit = work / "ILSVRC2012_devkit_t12/data"
    imagenet(work)
    for number, name in enumerate(names):
        _tar(work / f"tars/{name}.tar", sorted((work / "train" / name).iterdir()))
        for place, image in enumerate(sorted((work / "val" / name).iterdir())):
            image.rename(work / f"val/ILSVRC2012_val_{place * CLASSES + number + 1:08d}.JPEG")  # classes take turns
    _tar(root / "ILSVRC2012_img_train.tar", sorted((work / "tars").iterdir()))
    _tar(root / "ILSVRC2012_img_val.tar", sorted((work / "val").glob("*.JPEG")))
    kit.mkdir(parents=True)
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")
    rows = [(number, name, f"fish {number}, swimmer", "it swims", 0) for number, name in enumerate(names, 1)]
    rows.append((CLASSES + 1, "n00001740", "entity", "anything", CLASSES))  # inner nodes of the tree are no classes
    synsets = np.array(rows, dtype=[(field, object) for field in fields]).reshape(-1, 1)
    savemat(kit / "meta.mat", {"synsets": synsets})
    labels = [number % CLASSES + 1 for number in range(TEST * CLASSES)]
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{label}\n" for label in labels))
    _tar(root / "ILSVRC2012_devkit_t12.tar.gz", [kit.parent])
    shutil.rmtree(work)


def _tar(file: Path, paths: list[Path]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as archive:
        for path in paths:
            archive.add(path, path.name)


def folder(root: Path) -> None:
    names = ["apple", "pear", "plum"]
    _tree(root / "train", names, TRAIN, 0)
    _tree(root / "test", names, TEST, 100)


def table(root: Path) -> None:
    """Parquet as the library ``datasets`` writes it, of what `folder` makes."""
    import datasets

    folder(root.parent / "of_files")
    names = sorted(path.name for path in (root.parent / "of_files/train").iterdir())
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    root.mkdir()
    for part in ("train", "test"):
        files = sorted((root.parent / "of_files" / part).glob("*/*"))
        rows = [{"image": {"bytes": file.read_bytes(), "path": None}, "label": file.parent.name} for file in files]
        datasets.Dataset.from_list(rows, features=features).to_parquet(str(root / f"{part}.parquet"))
    shutil.rmtree(root.parent / "of_files")


def _cifar(root: Path, files: dict[str, int], key: str, meta: tuple[str, str, list[str]]) -> None:
    generator = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)
    for name, count in files.items():
        labels = [number % CLASSES for number in range(count)]
        pixels = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
        (root / name).write_bytes(pickle.dumps({"data": pixels, key: labels}))
    (root / meta[0]).write_bytes(pickle.dumps({meta[1]: meta[2]}))


def cifar10(root: Path) -> None:
    files = {**{f"data_batch_{number}": 6 for number in range(1, 6)}, "test_batch": 6}
    _cifar(root / "cifar-10-batches-py", files, "labels", ("batches.meta", "label_names", ["airplane", "car", "bird"]))


def cifar100(root: Path) -> None:
    _cifar(
        root / "cifar-100-python",
        {"train": 12, "test": 6},
        "fine_labels",
        ("meta", "fine_label_names", ["apple", "bear", "bed"]),
    )


def fashion_mnist(root: Path) -> None:
    """As torchvision keeps it, packed."""
    generator = np.random.default_rng(0)
    folder = root / "FashionMNIST/raw"
    folder.mkdir(parents=True)
    for part, each in (("train", TRAIN), ("t10k", TEST)):
        labels = np.tile(np.arange(10, dtype=np.uint8), each)
        pixels = generator.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        for name, content, kind in (("images-idx3", pixels, 3), ("labels-idx1", labels, 1)):
            header = np.array([0x800 + kind, *content.shape], dtype=">i4").tobytes()
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(header + content.tobytes()))


def dtd(root: Path) -> None:
    """Two of the ten divisions: in the second, images to train on and to validate on have changed places."""
    names = ["banded", "polka-dotted", "zigzagged"]
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for label, name in enumerate(names):
        for place in range(TRAIN + 2 * TEST):
            file = f"{name}/{name}_{place:04d}.jpg"
            picture(root / "images" / file, 10 * label + place)
            parts["train" if place < TRAIN else "val" if place < TRAIN + TEST else "test"].append(file)
    (root / "labels").mkdir()
    for split, order in ((1, ("train", "val", "test")), (2, ("val", "train", "test"))):
        for part, of in zip(("train", "val", "test"), order, strict=True):
            (root / "labels" / f"{part}{split}.txt").write_text("".join(f"{file}\n" for file in parts[of]))


def elpv(root: Path, each: int = 5) -> None:
    """So many cells of each level and kind."""
    (root / "images").mkdir(parents=True)
    lines = []
    for _ in range(each):
        for probability in (0.0, 1 / 3, 2 / 3, 1.0):
            for cell in ("mono", "poly"):
                file = f"images/cell{len(lines) + 1:04d}.png"
                noise = np.random.default_rng(len(lines)).integers(0, 256, (30, 30), dtype=np.uint8)
                Image.fromarray(noise).save(root / file)
                lines.append(f"{file}  {probability}  {cell}\n")
    (root / "labels.csv").write_text("".join(lines))


FABRICATED: dict[str, Callable[[Path], None]] = {
    "imagenet": imagenet,
    "cub": cub,
    "aircraft": aircraft,
    "cars": cars,
    "dogs": dogs,
    "flowers": flowers,
    "pets": pets,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "fashion_mnist": fashion_mnist,
    "dtd": dtd,
    "elpv": elpv,
    "folder": folder,
}
"""What makes a copy in a folder, by the name of the dataset."""

OFFICIAL = dict.fromkeys(FABRICATED, Official(CLASSES, CLASSES * TRAIN, CLASSES * TEST)) | {
    "flowers": Official(CLASSES, 9, 6, 3),
    "cifar10": Official(CLASSES, 30, 6),
    "cifar100": Official(CLASSES, 12, 6),
    "fashion_mnist": Official(10, 10 * TRAIN, 10 * TEST),
    "dtd": Official(CLASSES, CLASSES * TRAIN, CLASSES * TEST, CLASSES * TEST),
    "elpv": Official(2, 24, 8, 8),
}
"""What is known of the copies, as of the published datasets."""


def of_files() -> list[str]:
    """The datasets whose data module is of files alone."""
    modules = {name: resolve(DATASETS.get(name).datamodule) for name in DATASETS.names()}
    return [name for name, module in modules.items() if isinstance(module, type) and issubclass(module, FileDataModule)]


def stand_in(monkeypatch) -> None:
    """Let the copies be what was published, but for the sums of files, which nothing is known of."""
    for name, official in OFFICIAL.items():
        module = resolve(DATASETS.get(name).datamodule)
        if module.official is not None:
            monkeypatch.setattr(module, "official", official)
        lists = (replace(each, md5=each.md5 if each.extracted else None) for each in module.layout.archives)
        monkeypatch.setattr(module, "layout", replace(module.layout, archives=tuple(lists)))
    monkeypatch.setattr(resolve(DATASETS.get("fashion_mnist").datamodule), "sums", {})
    for reader in (tv.CIFAR10, tv.CIFAR100):
        for part in ("train_list", "test_list"):
            monkeypatch.setattr(reader, part, [[name, None] for name, _ in getattr(reader, part)])
        monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": None})
