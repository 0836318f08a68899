"""Archives of datasets: checked, then extracted whole or not at all, and nothing outside their place."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

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


def extract(file: Path, target: Path) -> None:
    """Unpack a tar or zip archive into the folder ``target``.

    It is unpacked beside its place first and what it holds renamed at the end, so that an interrupted extraction leaves
    nothing that looks complete. What ``target`` has already, by another process say, stays as it is.

    Raises:
        DataError: damaged, or a member that would lie outside ``target``.
    """
    target.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".extracting-", dir=target))
    try:
        try:
            _unpack(file, partial)
        except DAMAGED as error:
            raise DataError(f"the archive {file} is damaged ({error}); delete it and fetch it again") from None
        for entry in sorted(partial.iterdir()):
            if not (target / entry.name).exists():
                os.rename(entry, target / entry.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpack(file: Path, folder: Path) -> None:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if not (folder / name).resolve().is_relative_to(folder.resolve()):
                    raise _outside(file, name)
            archive.extractall(folder)
        return
    with _reading(file, "extracting") as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
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
