"""The library webdataset, whose addresses, names of samples and tar files these are; an extra."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from gcp.errors import MissingDependencyError


def webdataset(module: str) -> ModuleType:
    """A module of webdataset, ``webdataset.gopen`` say. Raises MissingDependencyError if it is not installed."""
    try:
        return import_module(f"webdataset.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("webdataset", "braceexpand"):
            raise
        raise MissingDependencyError("shards need webdataset; install it: pip install '.[webdataset]'") from None
