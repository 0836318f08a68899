"""A dataset as shards: files as they are, images in memory without loss, and the indexes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from PIL import Image
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms.functional import to_pil_image

from datamodules.archives import CONSOLE
from datamodules.augmented import FileSource
from datamodules.base import ImageDataModule
from datamodules.decoding import decode_contents
from datamodules.lanes import Lane, Turn
from datamodules.preprocessing import Preprocessing
from datamodules.seeding import private_generator
from datamodules.shards.index import PARTS, Index, Shard, file_name
from datamodules.shards.library import webdataset
from datamodules.shards.source import ARRAY, IMAGES, LABEL
from datamodules.stream_module import StreamDataModule
from datamodules.streams import StreamedImages
from datamodules.transformed import TransformedDataModule
from gcp.errors import DataError

LOCK = ".writing.lock"


class Item(NamedTuple):
    """An image as it is written: the ending and the contents of its file, and its label."""

    ending: str
    content: bytes
    label: int


class Part(NamedTuple):
    """What was written of a part.

    Attributes:
        name: train, val or test.
        shards: its index.
        size: bytes of its shards; None: they were there.
    """

    name: str
    shards: Index
    size: int | None


def refuse_taken(folder: Path) -> None:
    """Raise DataError if something is in ``folder``."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"shards.folder={folder} is there already; give another folder, or remove it")


def write_shards(data: ImageDataModule, name: str, folder: Path, images: int, seed: int, verify: bool) -> list[Part]:
    """Write all parts of a dataset into a new folder, which is there whole in the end or not at all.

    Training images are written in a random order, so that a few shards hold images of all classes; those of the other
    parts in their own order.

    Args:
        data: the dataset, set up.
        name: its name.
        folder: where to.
        images: in each shard but the last of a part.
        seed: of the order.
        verify: decode the images of streams before they are written; those of files `ImageDataModule.check_images`
            reads.

    Returns:
        The parts written, of "train", "val" and "test"; a validation part that is the test part is not written twice.

    Raises:
        DataError: something is in the folder, or the dataset holds what shards cannot.
        MissingDependencyError: webdataset is not installed.
    """
    parts = [part for part in PARTS if part != "val" or not data.validates_on_test]
    readers = {part: _reader(getattr(data.splits, part), part, name, verify) for part in parts}
    finished = _finished(data, name)
    transform = data.transform_name if isinstance(data, TransformedDataModule) and finished is None else None
    with new_folder(folder) as partial:
        written = []
        for part, items in readers.items():
            order = _order(getattr(data.splits, part), part, seed)
            shards, labels = _write_part(items, order, part, partial, images)
            counts = np.bincount(labels, minlength=data.num_classes)
            others = {other: file_name(other) for other in parts[1:]} if part == "train" else {}
            index = Index(shards, data.class_names, counts, transform, finished, name, others)
            size = sum((partial / shard.url).stat().st_size for shard in shards)
            written.append(Part(part, index, size))
        write_indexes({part.name: part.shards for part in written}, partial)
    return written


def write_indexes(indexes: dict[str, Index], folder: Path) -> None:
    """Write the index of each part into ``folder``."""
    for part, index in indexes.items():
        (folder / file_name(part)).write_text(json.dumps(index.plain(part), indent=1) + "\n", encoding="utf-8")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` to write into, which takes its place in the end, and is gone if anything fails.

    What a process that was killed left there goes first. Raises DataError if something is in ``folder``, or another
    process is writing.
    """
    refuse_taken(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    lock = FileLock(partial / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DataError(f"another process is writing shards.folder={folder}; wait for it, or give another") from None
    try:
        for left in partial.iterdir():
            if left.name != LOCK:
                left.unlink()
        yield partial
        (partial / LOCK).unlink()
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        lock.release()


def _write_part(
    items: Callable[[int], Item], order: Sequence[int], part: str, folder: Path, images: int
) -> tuple[list[Shard], list[int]]:
    """The shards of a part, and the labels in them."""
    size = len(order)
    what = f"writing {size:,} {part} images"
    if not CONSOLE.is_terminal:
        CONSOLE.print(what)
    shown = iter(track(order, what, console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal))
    shards: list[Shard] = []
    labels: list[int] = []
    for begin in range(0, size, images):
        url, count = f"{part}-{len(shards):06d}.tar", min(images, size - begin)
        with (folder / url).open("wb") as file, webdataset("writer").TarWriter(file, encoder=False, mtime=0) as tar:
            for number in range(begin, begin + count):
                ending, content, label = items(next(shown))
                tar.write({"__key__": f"{number:08d}", LABEL: str(label).encode(), ending: content})
                labels.append(label)
        shards.append(Shard(url, count))
    for _ in shown:  # to its end, where the bar goes
        pass
    return shards, labels


def _order(dataset: Dataset[Any], part: str, seed: int) -> Sequence[int]:
    size = len(dataset)  # type: ignore[arg-type]  # torch's Dataset declares no length
    if part != "train" or isinstance(dataset, StreamedImages):  # streams have a random order of their own
        return range(size)
    order: list[int] = torch.randperm(size, generator=private_generator(seed)).tolist()
    return order


def _reader(dataset: Dataset[Any], part: str, name: str, verify: bool) -> Callable[[int], Item]:
    """What gives the image at a position. Raises DataError for what shards cannot hold."""
    if isinstance(dataset, TensorDataset):
        images, labels = dataset.tensors
        return lambda position: _array(images, labels, position)
    if isinstance(dataset, StreamedImages):
        lane = Lane(len(dataset), 1, training=part == "train")
        return lambda position: _of_stream(dataset, Turn(lane, position), verify)
    source = getattr(dataset, "source", None)
    if isinstance(source, FileSource):
        if any(record.box is not None for record in source.records):
            raise DataError(
                f"dataset={name} cuts a box out of each image, and shards hold files as they are; leave out the option "
                "that does so (data.crop_to_box, data.crop_banner)"
            )
        return lambda position: _of_file(source, position)
    if source is not None:
        return lambda position: _of_pixels(*source[position])
    raise DataError(f"dataset={name} gives neither files nor images in memory, of which shards could be written")


def _finished(data: ImageDataModule, name: str) -> Preprocessing | None:
    """How images that are no pictures any more came to be. Raises DataError if the dataset does not say."""
    train = data.splits.train
    if not isinstance(train, TensorDataset):
        return data.finished if isinstance(data, StreamDataModule) else None
    found, size = data.preprocessing, data.image_size
    images = train.tensors[0]
    if found is None or images.dtype != torch.float32 or images.shape[1:] != (3, size, size):
        raise DataError(
            f"dataset={name} holds {images.dtype} {tuple(images.shape[1:])} in memory and does not say what they are "
            "made of; shards need float32 (3, image_size, image_size) and the property preprocessing"
        )
    return found


def _array(images: Tensor, labels: Tensor, position: int) -> Item:
    buffer = BytesIO()
    np.save(buffer, images[position].numpy(), allow_pickle=False)
    return Item(ARRAY, buffer.getvalue(), int(labels[position]))


def _of_file(source: FileSource, position: int) -> Item:
    path, label, _ = source.records[position]
    content = source.contents(path)
    ending = path.suffix.removeprefix(".").lower()
    return Item(ending if ending in IMAGES else _ending(content, str(path)), content, label)


def _of_stream(dataset: StreamedImages, turn: Turn, verify: bool) -> Item:
    sample, _ = dataset.sample(turn)
    if isinstance(sample.content, bytes):
        if verify:
            decode_contents(sample.content, sample.name, dataset.backend, dataset.remedy)
        return Item(_ending(sample.content, sample.name), sample.content, sample.label)
    if sample.content.dtype == torch.uint8:
        return _of_pixels(sample.content, sample.label)
    return _array(sample.content[None], torch.tensor([sample.label]), 0)


def _of_pixels(image: Tensor, label: int) -> Item:
    """uint8 (3, H, W) as PNG, which loses nothing; with one channel where the three are equal."""
    grey = torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
    buffer = BytesIO()
    to_pil_image(image[:1] if grey else image).save(buffer, format="PNG")
    return Item("png", buffer.getvalue(), label)


def _ending(content: bytes, name: str) -> str:
    """The ending that says what the contents of an image are. Raises DataError if they are none."""
    try:
        with Image.open(BytesIO(content)) as image:
            found = str(image.format).lower()
    except Exception:
        raise DataError(f"{name} is not an image; restore it") from None
    ending = {"mpo": "jpg", "jpeg": "jpg", "dib": "bmp"}.get(found, found)
    if ending not in IMAGES:
        raise DataError(f"{name} is a {found}, and images are {', '.join(IMAGES)}; write it as one of these")
    return ending
