"""What can be known to be wrong with a dataset before it is trained on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.records import Records
from gcp.errors import DataError, few

COMPARED = 200_000  # images up to which copies are looked for; beyond, as in ImageNet, it takes minutes
END = 4096  # bytes; headers are often alike
Copied = tuple[str, str]  # a file and the part it is in


def check_labels(class_names: list[str], parts: dict[str, Records]) -> None:
    """Raise DataError for a label that is out of range, or what `check_classes` refuses."""
    classes = len(class_names)
    for part, records in parts.items():
        wrong = np.flatnonzero((records.labels < 0) | (records.labels >= classes))
        if len(wrong):
            path, label, _ = records[wrong[0]]
            raise DataError(
                f"the {part} list gives {path} the label {label}, counted from 0, and there are {classes} classes; "
                "restore the lists from the archive"
            )
    check_classes(class_names, parts["training"].labels)


def check_classes(class_names: list[str], labels: np.ndarray) -> None:
    """Raise DataError for a class without training images, whose ``labels`` are (N,), or a single class."""
    classes = len(class_names)
    empty = sorted(set(range(classes)) - set(np.unique(labels).tolist()))
    if empty:
        names = few([class_names[label] for label in empty])
        raise DataError(f"{len(empty)} of {classes} classes have no training image: {names}; restore them")
    if classes < 2:
        raise DataError(
            f"there is one class only, '{class_names[0]}', and nothing to tell it from; check data.root"
            if classes
            else "the lists are empty; restore them from the archive"
        )


def check_batch_labels(labels: Any, num_classes: int) -> None:
    """Raise DataError unless ``labels``, of a batch, are whole numbers (B,) in 0 .. num_classes - 1.

    >>> check_batch_labels(torch.tensor([0, 3]), 3)
    Traceback (most recent call last):
    gcp.errors.DataError: the data hold the label 3, and the 3 classes have 0 to 2; mend the labels or the class names
    """
    if not isinstance(labels, Tensor) or labels.dim() != 1 or labels.is_floating_point() or labels.is_complex():
        kind = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        raise DataError(f"the labels of a batch must be whole numbers (B,), the data have {kind}; mend the data module")
    if not len(labels):
        return
    low, high = torch.stack(labels.aminmax()).tolist()
    if low < 0 or high >= num_classes:
        raise DataError(
            f"the data hold the label {low if low < 0 else high}, and the {num_classes} classes have 0 to "
            f"{num_classes - 1}; mend the labels or the class names"
        )


def check_memory(images: int, channels: int, size: int) -> None:
    """Raise DataError for images that are held in memory and do not fit this machine's, twice over to be made."""
    wanted = 2 * images * channels * size**2 * 4
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else wanted
    if wanted > there:
        raise DataError(
            f"{images} images of {size}x{size} take {wanted / 1e9:.0f} GB of memory, and there are {there / 1e9:.0f}; "
            "lower data.image_size or the number of images"
        )


def check_files(parts: dict[str, Records]) -> None:
    """Raise DataError for images that are not there, or there twice, by one look into each folder and not at each file.

    An image is there twice if it is listed twice, in one part or in two, or if one of two files is a link to the other.
    """
    folders: dict[str, _Folder] = {}
    first: dict[str, tuple[str, str]] = {}
    twice = []
    for part, records in parts.items():
        missing = []
        for path in records.paths():
            name = os.path.split(path)[0]
            folder = folders.get(name) or folders.setdefault(name, _Folder(name))
            itself = folder.itself(path)
            if itself is None:
                missing.append(path)
            elif itself in first:
                twice.append((first[itself], (path, part)))
            else:
                first[itself] = (path, part)
        if missing:
            named = few(missing, 3)
            raise DataError(f"{len(missing)} of {len(records)} {part} images are not there: {named}; restore them")
    if twice:
        (one, its_part), (other, other_part) = twice[0]
        count = "1 image is there twice," if len(twice) == 1 else f"{len(twice)} images are there twice, the first"
        raise DataError(
            f"{count} as {one} ({its_part}) and as {other} ({other_part}); remove one from the lists or folders"
        )


class FileContents:
    """What files hold, of which as little is read as will do."""

    def size(self, path: str) -> int:
        """In bytes, without reading it."""
        return os.path.getsize(path)

    def end(self, path: str) -> bytes:
        """The last bytes."""
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - END))
            return file.read()

    def digest(self, path: str) -> bytes:
        """A digest of all of it."""
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.digest()


def find_copies(parts: dict[str, Records], contents: FileContents | None = None) -> list[tuple[Copied, Copied]]:
    """Images whose files have the same content under two names, each with the one that came first.

    Only files of one size are looked into, their ends first, since few that differ have the same. Nothing is done for
    more than `COMPARED` images. ``contents`` is for images that are no files.
    """
    if sum(map(len, parts.values())) > COMPARED:
        return []
    everything = [(path, part) for part, records in parts.items() for path in records.paths()]
    contents = contents or FileContents()
    groups = _alike(everything, contents.size)
    for content in (contents.end, contents.digest):
        groups = [alike for group in groups for alike in _alike(group, content)]
    return [(group[0], other) for group in groups for other in group[1:]]


def described_copies(copies: list[tuple[Copied, Copied]]) -> str:
    """How many there are, and which is the first."""
    (one, its_part), (other, other_part) = copies[0]
    count = "1 image is a copy of another one:" if len(copies) == 1 else f"{len(copies)} images are copies, the first"
    return f"{count} {other} ({other_part}) of {one} ({its_part})"


def _alike(files: list[Copied], of: Callable[[str], object]) -> list[list[Copied]]:
    """Groups of ``files`` for which the function ``of`` gives the same."""
    groups: dict[object, list[Copied]] = {}
    for file in files:
        groups.setdefault(of(file[0]), []).append(file)
    return [group for value, group in groups.items() if len(group) > 1 and value]  # empty files are damaged, no copies


class _Folder:
    """What files a folder has. Raises DataError if it cannot be read."""

    def __init__(self, path: str) -> None:
        self.names: set[str] = set()
        self.links: dict[str, str] = {}
        self.real = os.path.realpath(path)
        self.moved = self.real != path
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        self.links[entry.name] = os.path.realpath(entry.path)
                    if entry.is_file():
                        self.names.add(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            pass  # nothing is in it
        except OSError as error:  # of a folder it lies in, too
            raise DataError(f"the folder {path} cannot be read ({error.strerror}); mend that") from None

    def itself(self, path: str) -> str | None:
        """The file ``path``, which is in this folder, without links on the way; None: it is not there."""
        name = os.path.basename(path)
        if name not in self.names:
            return None
        return self.links.get(name) or (os.path.join(self.real, name) if self.moved else path)
