"""Archives of datasets: checked, then extracted whole or not at all, and nothing outside their place."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import wrap_file

from gcp.errors import DataError

CONSOLE = Console(stderr=True)
DAMAGED = (tarfile.ReadError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError)


def check_md5(file: Path, expected: str) -> None:
    """Raise DataError unless the MD5 sum of ``file``, which tells damage, not forgery, is ``expected``."""
    digest = hashlib.md5(usedforsecurity=False)
    with _reading(file, "checking") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise DataError(
            f"{file} is damaged or another file: its MD5 sum is {digest.hexdigest()}, expected {expected}; "
            "delete it and fetch it again"
        )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time prepare ``folder``, which is created; the others wait, and say so.

    Processes of one run and of others count, on one machine or over a file system that knows locks. The lock is gone
    with its process, however that ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".preparing.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        CONSOLE.print(f"waiting for another process that prepares {folder}", soft_wrap=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """An empty folder in ``target``, gone at the end; what a process that was killed left there goes first."""
    partial = target / ".extracting"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def extract(file: Path, target: Path) -> None:
    """Unpack a tar or zip archive into the folder ``target``, `alone`.

    It is unpacked beside its place first and what it holds renamed at the end, so that an interrupted extraction leaves
    nothing that looks complete. What ``target`` has already stays as it is.

    Raises:
        DataError: damaged, or a member that would lie outside ``target``.
    """
    with partial_folder(target) as partial:
        unpack(file, partial)
        for entry in sorted(partial.iterdir()):
            if not (target / entry.name).exists():
                os.rename(entry, target / entry.name)


def unpack(file: Path, folder: Path, progress: bool = True) -> None:
    """Unpack a tar or zip archive member by member, into ``folder`` and nowhere else. Raises DataError as `extract`."""
    try:
        if zipfile.is_zipfile(file):
            _unpack_zip(file, folder)
        else:
            _unpack_tar(file, folder, progress)
    except DAMAGED as error:
        raise DataError(f"the archive {file} is damaged ({error}); delete it and fetch it again") from None


def _unpack_zip(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise _outside(file, name)
        archive.extractall(folder)


def _unpack_tar(file: Path, folder: Path, progress: bool) -> None:
    opened = _reading(file, "extracting") if progress else file.open("rb")
    with opened as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
        for member in archive:
            try:
                archive.extract(member, folder, filter="data")
            except tarfile.FilterError as error:
                raise _outside(file, error.tarinfo.name) from None


def _outside(file: Path, name: str) -> DataError:
    return DataError(f"the archive {file} holds '{name}', which would lie outside its folder; nothing was extracted")


def _reading(file: Path, doing: str) -> BinaryIO:
    """``file`` open for reading, with a progress bar."""
    stream = file.open("rb")
    total = file.stat().st_size
    return wrap_file(stream, total, description=f"{doing} {file.name}", console=CONSOLE, transient=True)  # type: ignore[return-value]
