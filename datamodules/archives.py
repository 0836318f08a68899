"""Archives of datasets: checked, then extracted whole or not at all, and nothing outside their place.

What an archive holds is written by this module itself, from what `tarfile` and `zipfile` read: folders and plain files.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import wrap_file

from gcp.errors import DataError

CONSOLE = Console(stderr=True)
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError)
OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))  # by how a file begins
BLOCK = 1 << 20
GROWTH, SMALL = 20, 1 << 24  # an archive unpacks to at most so many times its size, or so many bytes if that is more


def check_md5(file: Path, expected: str) -> None:
    """Raise DataError unless the MD5 sum of ``file``, which tells damage, not forgery, is ``expected``."""
    digest = hashlib.md5(usedforsecurity=False)
    with _reading(file, "checking") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise DataError(
            f"{file} is damaged or another file: its MD5 sum is {digest.hexdigest()}, expected {expected}; "
            "delete it and fetch it again"
        )


@contextmanager
def one_process_at_a_time(folder: Path) -> Iterator[None]:
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
    """Unpack a tar or zip archive into the folder ``target``, by `one_process_at_a_time`.

    It is unpacked beside its place first and what it holds renamed at the end, so that an interrupted extraction leaves
    nothing that looks complete. What ``target`` has already stays as it is.

    Raises:
        DataError: damaged; a link, a device or anything that would lie outside ``target``; far more than such an
            archive can hold, or than the disk has room for.
    """
    with partial_folder(target) as partial:
        unpack(file, partial)
        for entry in sorted(partial.iterdir()):
            if not (target / entry.name).exists():
                os.rename(entry, target / entry.name)


class _Member(NamedTuple):
    """A file or folder in an archive; ``odd`` says what else it is, if it is neither."""

    name: str
    folder: bool
    odd: str | None
    contents: IO[bytes] | None


def unpack(file: Path, folder: Path, inner: bool = False) -> None:
    """Unpack a tar or zip archive into ``folder`` and nowhere else, up to its last byte. Raises DataError as `extract`.

    Args:
        file: the archive.
        folder: an empty folder.
        inner: it came out of another archive: no progress is shown, and that it ends as it should was seen there.
    """
    room = _Room(file, folder)
    home = folder.resolve()
    try:
        with _reading(file, "extracting", shown=not inner) as stream:
            for member in _members(stream, room, complete=not inner):
                if member.odd is not None:
                    raise _refused(file, member.name, f"is {member.odd}, which no dataset needs")
                place = folder / member.name
                if not place.resolve().is_relative_to(home):
                    raise _refused(file, member.name, "would lie outside its folder")
                (place if member.folder else place.parent).mkdir(parents=True, exist_ok=True)
                if member.contents is not None:
                    with place.open("wb") as target:
                        while block := member.contents.read(BLOCK):
                            room.take(len(block))
                            target.write(block)
    except (*DAMAGED, gzip.BadGzipFile, RuntimeError, NotImplementedError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"the archive {file} is damaged ({error}); delete it and fetch it again") from None


def _members(stream: BinaryIO, room: _Room, complete: bool) -> Iterator[_Member]:
    start = stream.read(6)
    stream.seek(0)
    if start.startswith(b"PK"):
        return _in_zip(stream)
    opener = next((opener for magic, opener in OPENERS if start.startswith(magic)), None)
    plain: Any = stream if opener is None else opener(stream)  # the openers' results share no type
    return _in_tar(plain, room, complete)


def _in_zip(stream: BinaryIO) -> Iterator[_Member]:
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where it was not packed under Unix
            odd = None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else _odd(kind == stat.S_IFLNK)
            with archive.open(entry) as contents:
                yield _Member(entry.filename, entry.is_dir(), odd, None if entry.is_dir() else contents)


def _in_tar(stream: IO[bytes], room: _Room, complete: bool) -> Iterator[_Member]:
    """Members, one after the other; then the rest is read, at whose end compressed files have their check sum."""
    plain = _Watched(stream, room)
    with tarfile.open(fileobj=plain, mode="r|") as archive:  # type: ignore[call-overload]  # it needs read() alone
        for member in archive:
            odd = None if member.isreg() or member.isdir() else _odd(member.issym() or member.islnk())
            contents = archive.extractfile(member) if member.isreg() else None
            yield _Member(member.name, member.isdir(), odd, contents)
            archive.members.clear()  # else a million of them stay in memory
    while plain.read(BLOCK):
        pass
    if complete and plain.last.strip(b"\0"):
        raise EOFError("it ends before its end")


class _Watched:
    """A stream that counts what is read, and keeps the last bytes."""

    def __init__(self, stream: IO[bytes], room: _Room) -> None:
        self.stream = stream
        self.room = room
        self.last = b"nothing"

    def read(self, size: int) -> bytes:
        block = self.stream.read(size)
        self.room.pass_by(len(block))
        self.last = (self.last + block)[-2 * tarfile.BLOCKSIZE :] if block else self.last  # where a tar has only zeros
        return block


class _Room:
    """How much an archive may unpack to. Raises DataError as soon as it is more."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file = file
        self.size = file.stat().st_size
        self.limit = max(GROWTH * self.size, SMALL)
        self.free = shutil.disk_usage(folder).free
        self.written = self.passed = 0

    def take(self, size: int) -> None:
        """Count bytes that go to the disk."""
        self.written += size
        if self.written > self.free:
            raise DataError(
                f"the archive {self.file} needs more than the {_megabytes(self.free)} that are free where it is "
                "extracted; make room, or extract it elsewhere"
            )
        self._check(self.written)

    def pass_by(self, size: int) -> None:
        """Count bytes that were decompressed, whether a file's or not."""
        self.passed += size
        self._check(self.passed)

    def _check(self, size: int) -> None:
        if size > self.limit:
            raise DataError(
                f"the archive {self.file} has {_megabytes(self.size)} and unpacks to more than "
                f"{_megabytes(self.limit)}, which no archive of images does; nothing was extracted"
            )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _odd(link: bool) -> str:
    return "a link" if link else "a device or another special file"


def _refused(file: Path, name: str, why: str) -> DataError:
    return DataError(f"the archive {file} holds '{name}', which {why}; nothing was extracted")


def _reading(file: Path, doing: str, shown: bool = True) -> BinaryIO:
    """``file`` open for reading, with a progress bar if that is to be ``shown``."""
    stream = file.open("rb")
    if not shown:
        return stream
    total = file.stat().st_size
    return wrap_file(stream, total, description=f"{doing} {file.name}", console=CONSOLE, transient=True)  # type: ignore[return-value]  # declared too narrowly
