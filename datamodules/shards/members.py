"""The samples of one shard: files in a row whose names are the same up to the first dot."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from datamodules.shards.addresses import is_remote, opened, reason
from datamodules.shards.library import webdataset
from gcp.errors import DataError

META = re.compile(r"__[^/]*__($|/)")  # files that belong to the shard, not to a sample
END = tarfile.NUL * tarfile.BLOCKSIZE  # what a tar file ends with
BUFFER = 1 << 18  # bytes that are read at once from an address
REMEDY = "copy or write the shard again"

Files = dict[str, bytes]  # contents by ending, in small letters


def samples_in(
    url: str, chosen: Callable[[int], bool], until: int | None = None, only: str | None = None
) -> Iterator[tuple[int, str, Files]]:
    """The samples of a shard, each with its place in it and its key.

    Args:
        url: the shard, a file or an address.
        chosen: asked for each place, from 0: whether the sample is wanted; the others are passed by, which in a file
            costs next to nothing.
        until: place before which to stop; None: at the end of the shard.
        only: ending of the files to read; the others are there, and empty. None: all.

    Yields:
        (place, key, files).

    Raises:
        DataError: it cannot be read, is damaged, cut off or has two files of one name; names the shard.
    """
    try:
        stream = opened(url)
    except Exception as error:  # as below
        raise _unreadable(url, error) from None
    try:
        with tarfile.open(fileobj=stream, mode="r|*" if is_remote(url) else "r:*", bufsize=BUFFER) as tar:
            check_end = stream.close if is_remote(url) else partial(_check_end, tar, url)
            yield from _grouped(_members(tar, check_end), url, chosen, until, only)
    except DataError:
        raise
    except Exception as error:  # a damaged shard, a connection that breaks off, ...: errors of every kind
        raise _unreadable(url, error) from None
    finally:
        with suppress(Exception):  # curl does not like to be left in the middle
            stream.close()


def _grouped(
    members: Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]],
    url: str,
    chosen: Callable[[int], bool],
    until: int | None,
    only: str | None,
) -> Iterator[tuple[int, str, Files]]:
    split = webdataset("tariterators").base_plus_ext
    place, key = -1, None
    files: Files | None = None  # of a sample that is wanted
    for member, content in members:
        name, ending = split(member.name)
        if name is None or META.match(member.name):
            continue
        if name != key:
            if files is not None:
                yield place, str(key), files
            place, key = place + 1, name
            if place == until:
                return
            files = {} if chosen(place) else None
        if files is not None:
            ending = ending.lower()
            if ending in files:
                raise DataError(f"{name} in {url} has two files that end in .{ending}; {REMEDY}")
            files[ending] = content() if only in (None, ending) else b""
    if files is not None:
        yield place, str(key), files


def _members(
    tar: tarfile.TarFile, check_end: Callable[[], None]
) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
    """The files, each with what reads it; in the end ``check_end`` says whether all have come."""

    def content() -> bytes:
        file = tar.extractfile(member)
        assert file is not None  # it is a file
        return file.read()

    for member in tar:
        if member.isreg():
            yield member, content
        tar.members = []  # type: ignore[attr-defined]  # it would keep all of them
    check_end()


def _check_end(tar: tarfile.TarFile, url: str) -> None:
    """Raise DataError for a file that is cut off where a member ends, which `tarfile` takes for the end."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != END:
        raise DataError(f"the shard {url} is cut off, or damaged in its middle; {REMEDY}")


def _unreadable(url: str, error: Exception) -> DataError:
    return DataError(f"the shard {url} cannot be read ({reason(error)}); {REMEDY}")
