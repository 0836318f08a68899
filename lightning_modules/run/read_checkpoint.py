"""Reading a checkpoint, and what one of ours says of its run."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gcp.errors import CheckpointError
from gcp.tensor_files import read_file
from lightning_modules.run.checkpoint_names import CONFIG_KEY, HYPERPARAMETERS_KEY, LAST, PREVIOUS
from lightning_modules.run.ranks import is_main_process


def read(path: Path) -> dict[str, Any]:
    """The contents of one of our checkpoints; runs no code from it.

    Raises:
        CheckpointError: not readable, damaged, or written by something else.
    """
    checkpoint: dict[str, Any] = _read_whole(path)
    if not is_ours(checkpoint):
        found = ", ".join(map(str, list(checkpoint)[:5])) if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise CheckpointError(f"{path} was not written by run.py: it holds no configuration but {found}")
    return checkpoint


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
    """The method of the network in a checkpoint of ours, after a switch the second one; none in others."""
    hyperparameters = checkpoint.get(HYPERPARAMETERS_KEY, {})
    method = hyperparameters.get("method")
    return None if method is None else dict(method)


def as_saved(config: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the network in a checkpoint: that of its run, ``config``, with the method of the moment."""
    method = method_in(checkpoint)
    return {**config} if method is None else {**config, "method": method, "switch": {}}


def _read_whole(path: Path) -> Any:
    """What is in the file. Raises CheckpointError, also if a single bit of it has changed since it was written."""
    contents = read_file(path)
    check_whole(path)
    return contents


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
