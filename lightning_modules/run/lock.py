"""One process at a time in a run directory. Free of torch.

The lock is the operating system's, so it ends with the process that holds it, however that ends; the file says who that
is. Processes forked from it, as data loaders are, do not hold it.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gcp.errors import GCPError

try:
    import fcntl
except ImportError:  # Windows has other locks: nothing is locked there
    fcntl = None  # type: ignore[assignment]  # None: there is no such module

FILE = ".lock"
HELD = (errno.EACCES, errno.EAGAIN)
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # a file system that has none


class InUseError(GCPError, RuntimeError):
    """A directory that another process writes into."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes out of ``directory``, which exists.

    Raises:
        InUseError: another process is there; says which.
        OSError: the directory cannot be written into.
    """
    path = directory / FILE
    descriptor = _acquire(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held, so that no other process can have taken this very file
        os.close(descriptor)


def holder(directory: Path) -> str | None:
    """The process in ``directory``, "process PID on HOST"; None: it is free. Not for the process that holds it."""
    try:
        descriptor = os.open(directory / FILE, os.O_RDWR)
    except OSError:
        return None
    try:
        return None if _lock(descriptor) else _owner(descriptor)
    finally:
        os.close(descriptor)


def _acquire(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _lock(descriptor):
                raise InUseError(
                    f"{path.parent} is in use by {_owner(descriptor)}; wait for its end, or give another directory"
                )
            if _is_at(descriptor, path):  # or else its last holder has just removed it
                with suppress(OSError):  # a full disk: locked all the same
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        if error.errno not in NO_LOCKS:
            raise
    return True


def _owner(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
