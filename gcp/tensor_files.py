"""Files of weights, read without running anything that is in them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor

from gcp.errors import CheckpointError

# Where training scripts keep the state dict, if the file is not one itself.
WRAPPERS = ("state_dict", "model_state_dict", "model")
# What (Distributed)DataParallel adds to a key, at its beginning or inside.
_PARALLEL = re.compile(r"(^|\.)module\.")


@dataclass(frozen=True)
class StateFile:
    """The tensors of a file, their keys without the ``module.`` of data parallelism.

    Attributes:
        path: the file.
        tensors: by key.
        architecture: the name the file gives its network, if it does.
    """

    path: Path
    tensors: dict[str, Tensor]
    architecture: str | None = None


def read_file(path: Path) -> Any:
    """What ``torch.save`` wrote, on the CPU; files of all its formats, old ones too. Runs no code from it.

    Raises CheckpointError: missing, not readable, or holding more than tensors and plain values.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint file at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from None
    except Exception as error:  # a damaged file makes the unpickler raise almost anything
        reason = _first(str(error)) or type(error).__name__
        raise CheckpointError(f"{path} is no readable checkpoint ({reason}); it may be cut short") from None


def read_tensors(path: Path) -> StateFile:
    """The state dict in a file, bare or wrapped. Raises CheckpointError: see `read_file` and `tensors_in`."""
    return tensors_in(read_file(path), path)


def tensors_in(contents: object, path: Path) -> StateFile:
    """The state dict in what `read_file` gave for ``path``, bare or wrapped. Raises CheckpointError without one."""
    state = contents
    if isinstance(contents, Mapping):
        state = next((contents[key] for key in WRAPPERS if isinstance(contents.get(key), Mapping)), contents)
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path} holds no state dict but one {type(state).__name__}")
    tensors = {_PARALLEL.sub(r"\1", str(key)): value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        found = ", ".join(map(str, list(state)[:5])) or "nothing"
        raise CheckpointError(f"{path} holds no weights but {found}")
    architecture = contents.get("arch") if isinstance(contents, Mapping) else None
    return StateFile(path, tensors, str(architecture) if architecture is not None else None)


def _first(text: str) -> str:
    """The first line without torch's advice to load the file in a way that runs code from it."""
    lines = [line.strip() for line in text.split("\n") if line.strip() and "weights_only" not in line]
    return lines[0].partition(" This file can still be loaded")[0] if lines else ""


def _refusal(path: Path, reason: str) -> str:
    """The sentence for what ``weights_only`` refuses: code, or a damaged file."""
    name = re.search(r"GLOBAL ([\w.]+)|[Ff]unction ([\w.]+)|class ([\w.]+)", reason)
    if name is None:
        return (
            f"{path} is no readable checkpoint ({_first(reason) or 'damaged'}); it may be cut short, or something else"
        )
    found = next(group for group in name.groups() if group).rstrip(".")
    return (
        f"{path} is no readable checkpoint: it asks for {found} to be called; nothing was run, for a checkpoint holds "
        "tensors and plain values only; save its state_dict alone with a program you trust"
    )
