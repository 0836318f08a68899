"""Writing files: whole or not at all, tables, and a sentence where a disk refuses. Free of torch."""

from __future__ import annotations

import csv
import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gcp.errors import GCPError

REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the quota of the disk is used up; free some space",
    errno.EFBIG: "the file would be larger than is allowed here",
    errno.EROFS: "it is on a disk that is read-only",
    errno.ENOENT: "it does not exist, or not any more",
    errno.EACCES: "there is no permission",
    errno.EPERM: "there is no permission",
    errno.EEXIST: "a file is in place of a folder",
    errno.ENOTDIR: "a file is in place of a folder",
    errno.EISDIR: "a folder is in place of a file",
    errno.EIO: "the disk reports an error",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its links form a loop",
}
FULL = (errno.ENOSPC, errno.EDQUOT)
# What torch says where the memory that processes share is full: an error here, or a worker killed by SIGBUS.
SHARED_MEMORY = ("unable to write to file </torch_", "unable to allocate shared memory", "out of shared memory")
SHARED = Path("/dev/shm")


class StorageError(GCPError, RuntimeError):
    """A file or folder that cannot be written or read."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write into; takes its place at the end of the block, and is removed if that fails."""
    partial = path.with_suffix(".partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` so that a reader never sees half of it; on a full disk into the room the file already has."""
    try:
        with whole(path) as partial:
            partial.write_text(text)
    except OSError as error:
        if error.errno not in FULL or not path.exists():
            raise
        with path.open("r+") as file:
            file.write(text)
            file.truncate()


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write ``rows``, the names of the columns first, in UTF-8; names of files that are no UTF-8 stay as they are."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows(rows)


def storage_error(error: BaseException, place: Path | None = None) -> StorageError | None:
    """The sentence for ``error``, with the path; None: it is about something else.

    Args:
        error: what was raised, perhaps while another error was handled.
        place: the folder things were written into, for errors that name no file.
    """
    for link in chain(error):
        if isinstance(link, StorageError):
            return link
        if any(text in str(link) for text in SHARED_MEMORY) or _lacks_shared_memory(link, place):
            return StorageError(
                f"{SHARED} is full, through which data loaders hand over batches; give it more room, or take "
                "fewer data.num_workers or a smaller data.batch_size"
            )
        if isinstance(link, OSError) and link.errno in REASONS:
            path = link.filename2 or link.filename or place
            return StorageError(f"cannot use {path or 'a file'}: {REASONS[link.errno]}")
    return None


def _lacks_shared_memory(error: BaseException, place: Path | None) -> bool:
    """Whether it is not the disk of ``place`` that is full: semaphores, too, need room, and their error has no path."""
    if not isinstance(error, OSError) or error.errno not in FULL or error.filename or place is None:
        return False
    if not (SHARED.exists() and place.is_dir()):
        return False
    return shutil.disk_usage(SHARED).free < shutil.disk_usage(place).free


def chain(error: BaseException) -> list[BaseException]:
    """The error, then what it was raised from or on top of, back to the first."""
    links = [error]
    while (earlier := links[-1].__cause__ or links[-1].__context__) is not None and earlier not in links:
        links.append(earlier)
    return links
