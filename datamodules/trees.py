"""Folders of images: what is in them, without what systems and programs put there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from datamodules.decoding import ENDINGS
from datamodules.records import Records
from gcp.errors import DataError, few

# Beside everything that is hidden, as .DS_Store and .ipynb_checkpoints are.
SYSTEM = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "lost+found", "@eadir"}
SYSTEM |= {"__pycache__"}


def entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """What is in ``folder``, by name, but hidden and system entries. Raises DataError if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            mine = [each for each in found if not each.name.startswith(".") and each.name.lower() not in SYSTEM]
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read ({error.strerror}); mend that") from None
    return sorted(mine, key=lambda each: each.name)


def subfolders(folder: Path) -> list[Path]:
    """The folders in ``folder``, by name."""
    return [Path(entry.path) for entry in entries(folder) if entry.is_dir()]


def images_in(folder: Path | str) -> list[str]:
    """The files directly in ``folder`` that are images by their endings, by name."""
    return [entry.path for entry in entries(folder) if _is_image(entry)]


def images_below(folder: Path | str) -> Iterator[str]:
    """The images in ``folder`` and in the folders below, those of links too, folder after folder by name.

    Raises DataError for a folder that cannot be read, or a link back to a folder it lies in, without end.
    """
    for each in sorted(_folders(os.fspath(folder), ())):
        yield from images_in(each)


def read_tree(folder: Path) -> tuple[list[str], Records]:
    """Names of the classes and images of a tree CLASS/IMAGE, in which folders of a class may hold others.

    Raises DataError for a tree without classes, a class without images or with a name that is not UTF-8.
    """
    classes = subfolders(folder)
    if not classes:
        raise DataError(f"{folder} is no tree of images in a folder for each class: it holds no folders; mend it")
    for each in classes:
        try:
            each.name.encode()
        except UnicodeEncodeError:
            raise DataError(f"the name of the folder {os.fsencode(each)!r} of a class is no UTF-8; rename it") from None
    images = [list(images_below(each)) for each in classes]
    empty = [each.name for each, paths in zip(classes, images, strict=True) if not paths]
    if empty:
        raise DataError(
            f"{folder} is no tree of images in a folder for each class: no images ({', '.join(ENDINGS)}) in "
            f"{few(empty)}; add some, or remove what is no class"
        )
    return [each.name for each in classes], Records(
        (path, label, None) for label, paths in enumerate(images) for path in paths
    )


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(ENDINGS) and not entry.is_dir()


def _folders(folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """``folder`` and all below it; ``above`` identifies those it lies in."""
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise DataError(f"{folder} leads through a link back to a folder it lies in, without end; remove the link")
    yield folder
    for entry in entries(folder):
        if entry.is_dir():
            yield from _folders(entry.path, (*above, identity))
