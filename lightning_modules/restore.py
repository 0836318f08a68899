"""Runs that start from a checkpoint: finding it, reading it, and going by the configuration inside it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from gcp.errors import CheckpointError
from lightning_modules.callbacks.checkpoints import ConfigInCheckpoint
from lightning_modules.run import Run
from lightning_modules.switching import as_saved

# Sections an override may not contradict: the network, and when training goes on also what the optimizer's state holds.
NETWORK = ("method", "backbone", "data.name")
TRAINING = ("optimizer", "schedule", "seed")
# Sections that are the new run's own.
OWN = ("mode", "ckpt_path", "plugins", "logger", "export")


def restore(run: Run, explicit: list[str], directory_given: bool, outputs: Path = Path("outputs")) -> Run:
    """The run its ``ckpt_path`` describes, with what the user asked for on top; see `find`, `read` and `merge`."""
    training = run.config["mode"] == "fit"
    path = find(run.config["ckpt_path"], run.directory, directory_given, outputs, prefer_best=not training)
    checkpoint = read(path)
    stored = checkpoint[ConfigInCheckpoint.KEY]
    if not training:
        stored = as_saved(stored, checkpoint)
    config = merge(run.config, stored, explicit, training)
    return Run(run.directory, {**config, "ckpt_path": str(path)}, checkpoint["global_step"] if training else None)


def find(path: str, directory: Path, directory_given: bool, outputs: Path, prefer_best: bool) -> Path:
    """The checkpoint a ``ckpt_path`` means.

    Args:
        path: a checkpoint; a run directory; or "last", the newest one.
        directory: the present run's directory.
        directory_given: whether the user named it: "last" then looks there alone.
        outputs: the folder of all runs, where "last" looks otherwise.
        prefer_best: in a run directory take ``best.ckpt`` rather than ``last.ckpt``.

    Raises:
        CheckpointError: nothing there; says where it looked.
    """
    if path == "last":
        root = directory if directory_given else outputs
        found = sorted(root.glob("**/checkpoints/last.ckpt"), key=lambda file: file.stat().st_mtime)
        if not found:
            raise CheckpointError(f"ckpt_path=last found no checkpoints/last.ckpt under {root}; give the path of one")
        return found[-1]
    chosen = Path(path)
    if chosen.is_dir():
        names = ("best.ckpt", "last.ckpt") if prefer_best else ("last.ckpt", "best.ckpt")
        files = [chosen / "checkpoints" / name for name in names if (chosen / "checkpoints" / name).exists()]
        if not files:
            raise CheckpointError(f"the run directory {chosen} holds no checkpoints/{names[0]}; give another ckpt_path")
        return files[0]
    if not chosen.exists():
        raise CheckpointError(f"no checkpoint at {chosen}; give a .ckpt file, a run directory, or last")
    return chosen


def read(path: Path) -> dict[str, Any]:
    """The contents of one of our checkpoints; runs no code from it.

    Raises:
        CheckpointError: not readable, or written by something else.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, OSError, ValueError, BadZipFile, pickle.UnpicklingError) as error:
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(f"{path} is no readable checkpoint ({reason}); it may be cut short") from None
    if not isinstance(checkpoint, dict) or ConfigInCheckpoint.KEY not in checkpoint:
        found = ", ".join(map(str, list(checkpoint)[:5])) if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise CheckpointError(f"{path} was not written by run.py: it holds no configuration but {found}")
    return checkpoint


def merge(config: Mapping[str, Any], stored: Mapping[str, Any], explicit: list[str], training: bool) -> dict[str, Any]:
    """The configuration in the checkpoint, with what the user asked for on top.

    Args:
        config: the configuration composed for this run.
        stored: the one in the checkpoint.
        explicit: dotted names the user set, ``trainer.max_epochs``; a section's name stands for all of it.
        training: whether training goes on, which also binds optimizer, schedule and seed.

    Raises:
        CheckpointError: an override contradicts the checkpoint; lists both values.
    """
    guarded = NETWORK + TRAINING if training else NETWORK
    clashes = [
        f"{name}={_at(config, name)} (checkpoint: {_at(stored, name)})"
        for name in explicit
        if any(name == guard or name.startswith(f"{guard}.") for guard in guarded)
        and _at(config, name) != _at(stored, name)
    ]
    if clashes:
        raise CheckpointError(f"the checkpoint is of another run than asked for: {', '.join(clashes)}; leave these out")
    merged: dict[str, Any] = copy.deepcopy(dict(stored))
    for name in [*explicit, *OWN]:
        *sections, key = name.split(".")
        target = merged
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = copy.deepcopy(_at(config, name))
    if merged["backbone"].get("weights") is not None:
        merged["backbone"]["weights"] = None  # the checkpoint's weights replace the pretrained ones
    return merged


def _at(config: Mapping[str, Any], name: str) -> Any:
    value: Any = config
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
