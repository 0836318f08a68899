"""Reading a checkpoint, once for all parts of a command that ask for it, and what one of ours says of its run."""

from __future__ import annotations

import copy
import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gcp.errors import CheckpointError
from gcp.hub.files import CONFIG
from gcp.tensor_files import read_file
from lightning_modules.run.checkpoint_names import CONFIG_KEY, HYPERPARAMETERS_KEY, LAST, PREVIOUS
from lightning_modules.run.network_folder import is_network, read_network
from lightning_modules.run.ranks import is_main_process

_kept: dict[tuple[Any, ...], Any] = {}  # what was read last, by the identity of its file; one entry at most


def read(path: Path) -> dict[str, Any]:
    """The contents of one of our checkpoints, which the next reader gets too: leave them as they are.

    Raises:
        CheckpointError: not readable, damaged, or written by something else.
    """
    checkpoint: dict[str, Any] = _read_whole(path)
    if not is_ours(checkpoint):
        found = ", ".join(map(str, list(checkpoint)[:5])) if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise CheckpointError(f"{path} was not written by run.py: it holds no configuration but {found}")
    return checkpoint


def take(path: Path) -> Any:
    """What is in a file, for a reader who keeps or changes it: a copy in memory of its own. Raises as `read`.

    It is the last reader: what was kept is forgotten.
    """
    contents = copy.deepcopy(_read_whole(path))
    forget()
    return contents


def forget() -> None:
    """Keep nothing of what was read."""
    _kept.clear()


def readable(path: Path, say: bool = True) -> tuple[Path, Any]:
    """The file and what is in it; for a ``last.ckpt`` that is damaged, the one before it, which is said."""
    try:
        return path, _read_whole(path)
    except CheckpointError as error:
        previous = path.with_name(PREVIOUS)
        if path.name != LAST or not previous.exists():
            raise
        contents = _read_whole(previous)
        if say and is_main_process():
            print(f"{error}; going on from the one before it, {previous}", file=sys.stderr)
        return previous, contents


def is_ours(contents: object) -> bool:
    """Whether a run of this project wrote what is in a file."""
    return isinstance(contents, dict) and CONFIG_KEY in contents


def method_in(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The method of the network in a checkpoint of ours, after a switch the second one; None in others."""
    hyperparameters = checkpoint.get(HYPERPARAMETERS_KEY, {})
    method = hyperparameters.get("method")
    return None if method is None else dict(method)


def as_saved(config: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the network in a checkpoint: that of its run, ``config``, with the method of the moment."""
    method = method_in(checkpoint)
    return {**config} if method is None else {**config, "method": method, "switch": {}}


def check_whole(path: Path) -> None:
    """Compare what a checkpoint holds with the checksums written with it; torch does not when it reads.

    Raises CheckpointError: damaged. Files that are no zip archives have no checksums.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path} is no readable checkpoint ({error}); the file is damaged") from None
    if damaged is not None:
        raise CheckpointError(f"{path} is no readable checkpoint ({damaged} has another checksum); the file is damaged")


def _read_whole(path: Path) -> Any:
    """What is in the file. Raises CheckpointError, also if a single bit of it has changed since it was written."""
    network = is_network(path)
    files = [path, path.with_name(CONFIG)] if network else [path]
    try:
        identity = tuple(part for file in files for part in _identity(file))
    except OSError:
        return read_file(path)  # which says what is wrong
    if identity not in _kept:
        contents = read_network(path) if network else read_file(path)
        check_whole(path)
        forget()
        _kept[identity] = contents
    return _kept[identity]


def _identity(file: Path) -> tuple[Any, ...]:
    """What is another once the file was written to. Raises OSError."""
    status = os.stat(file)
    return file.resolve(), status.st_ino, status.st_size, status.st_mtime_ns
