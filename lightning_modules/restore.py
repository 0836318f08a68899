"""Runs that start from a checkpoint: finding it, reading it, and going by the configuration inside it."""

from __future__ import annotations

import copy
import dataclasses
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datamodules.location import VARIABLE
from gcp.backbones.registry import BACKBONES
from gcp.errors import CheckpointError
from gcp.tensor_files import read_file
from lightning_modules.callbacks.checkpoints import ConfigInCheckpoint
from lightning_modules.checkpoint_files import check_whole
from lightning_modules.checkpoint_names import BEST, FIRST, FOLDER, LAST, PREVIOUS, RESUME, STAGES, to_resume
from lightning_modules.distributed.ranks import is_main_process
from lightning_modules.run import Run
from lightning_modules.settings.callbacks import CALLBACKS
from lightning_modules.switching import as_saved

OUTPUTS = Path("outputs")
# Sections an override may not contradict: the network, and when training goes on also what the optimizer's state holds.
NETWORK = ("method", "backbone", "data.name")
TRAINING = ("optimizer", "schedule", "training", "seed")
AVERAGED = "callbacks.swa"  # likewise, for a run that has it: the weights of its checkpoints may be averaged ones
# Sections that are the new run's own.
OWN = (
    "mode",
    "ckpt_path",
    "ckpt_triangle",
    "ckpt_classifier",
    "ckpt_schedule",
    "plugins",
    "logger",
    "export",
    "sweep",
    "analysis",
    "path",
)
# What may be changed when training goes on without changing what comes of it, or is asked for to change just that.
FREE = (
    *OWN,
    "data.root",
    "data.download",
    "data.check",
    "data.num_workers",
    "data.pin_memory",
    "data.eval_batch_size",
    "callbacks.checkpoint_every_n_steps",
    "callbacks.spectrum_every_n_steps",
    "callbacks.smoothness_every_n_steps",
    "callbacks.progress_bar",
    "callbacks.log_learning_rate",
    "callbacks.confusion_matrix",
    "trainer.max_epochs",
    "trainer.requeue",
    "trainer.limit_test_batches",
    "trainer.log_every_n_steps",
    "second_stage.epochs",
)
# What the second of two stages has of its own, by the name it has in a run of one stage.
SECOND = {"trainer.max_epochs": "second_stage.epochs", "backbone.frozen": "second_stage.frozen"}
# When nothing is trained, what a checkpoint says of places, downloads and devices is not followed either: it may be
# someone else's, and says what the network and its preprocessing are.
PLACES = (
    *(f"data.{name}" for name in ("root", "download", "path", "num_workers", "pin_memory")),
    *(f"trainer.{name}" for name in ("accelerator", "devices", "num_nodes", "strategy", "requeue")),
)
# What a new schedule may not change, for the optimizer's state would not fit, or the schedule's count.
RENEWABLE = ("optimizer.", "schedule.")
FIXED = ("optimizer.name", "optimizer.cls", "optimizer.decay_norm_and_bias")


def restore(run: Run, explicit: list[str], directory_given: bool, outputs: Path = OUTPUTS) -> Run:
    """The run its ``ckpt_path`` describes, with what the user asked for on top; see `find`, `read` and `merge`.

    A published checkpoint describes no run: the configuration stays what was composed, and its weights come in later.
    """
    training = run.config["mode"] == "fit"
    path = find(run.config["ckpt_path"], run.directory, directory_given, outputs, prefer_best=not training)
    path, contents = readable(path)
    if not _is_ours(contents):
        config = without_pretrained({**run.config, "ckpt_path": str(path)})
        return Run(run.directory, config, 0 if training else None, published=True)
    if run.config["ckpt_triangle"] != "upper":
        raise CheckpointError(f"ckpt_triangle is for published checkpoints; {path} was written by run.py")
    if run.config["ckpt_classifier"] == "new":
        config = with_network(run.config, as_saved(contents[ConfigInCheckpoint.KEY], contents), explicit)
        return Run(run.directory, {**config, "ckpt_path": str(path)}, published=True)
    if not training:
        stored = as_saved(contents[ConfigInCheckpoint.KEY], contents)
        config = merge(run.config, stored, explicit, training)
        if run.config["mode"] == "test":
            _check_place(config, stored)
        return Run(run.directory, {**config, "ckpt_path": str(path)}, None)
    stages = contents.get(STAGES)
    stage = None if stages is None else int(stages["stage"])
    if stage == 1 and run.directory.resolve() == path.resolve().parent.parent:
        raise CheckpointError(
            f"{run.directory} holds the first of two stages; go on with the whole run: "
            f"hydra.run.dir={run.directory.parent}"
        )
    stored = contents[ConfigInCheckpoint.KEY] if stages is None else stages["config"]
    for name in SECOND if stage == 2 else ():
        if name in explicit and _at(run.config, name) != _at(stored, name):
            raise CheckpointError(f"{path} is of the second of two stages; set {SECOND[name]} instead of {name}")
    config = merge(run.config, stored, explicit, training)
    name, section = ("second_stage.epochs", "second_stage") if stage == 2 else ("trainer.max_epochs", "trainer")
    _check_epochs(name, config[section][name.rpartition(".")[2]], contents, path)
    free = (*FREE, *(f"callbacks.{name}" for name in CALLBACKS.names() if CALLBACKS.get(name).watches))
    changed = _changes(run.config, stored, [name for name in explicit if not _is_in(name, free)])
    if changed and is_main_process():
        print(
            f"going on with other options than so far: {', '.join(changed)}; the weights will differ from those of a "
            "run that has them throughout",
            file=sys.stderr,
        )
    return going_on(dataclasses.replace(run, config=config, stage=stage), path, contents)


def going_on(run: Run, path: Path, contents: Mapping[str, Any]) -> Run:
    """``run`` as it trains on from the checkpoint of ours at ``path``, which holds ``contents``."""
    rows = contents.get(RESUME, {}).get("rows")
    config = {**run.config, "ckpt_path": str(path)}
    return dataclasses.replace(run, config=config, steps_done=contents["global_step"], rows_done=rows, published=False)


def stored_config(path: str, directory: Path | None, training: bool) -> dict[str, Any] | None:
    """The configuration in the checkpoint that ``path`` means, with the method of the moment; none: a published one.

    Raises CheckpointError as `find` and `read`.
    """
    chosen = find(path, directory or Path(), directory is not None, OUTPUTS, prefer_best=not training)
    _, contents = readable(chosen, say=False)
    if not _is_ours(contents):
        return None
    stored: dict[str, Any] = contents[ConfigInCheckpoint.KEY]
    return stored if training else as_saved(stored, contents)


def with_network(config: Mapping[str, Any], stored: Mapping[str, Any], explicit: list[str]) -> dict[str, Any]:
    """``config`` with the stored network, to which a new classifier comes; what the user set by name stays.

    Args:
        config: the configuration composed for this run.
        stored: the one in the checkpoint.
        explicit: dotted names the user set.
    """
    merged = copy.deepcopy(dict(config))
    for section in ("method", "backbone"):
        if config[section]["name"] != stored[section]["name"]:
            continue  # chosen by the user; whether the weights fit is seen when they are loaded
        kept = [name.removeprefix(f"{section}.") for name in explicit if name.startswith(f"{section}.")]
        merged[section] = {**stored[section], **{name: config[section].get(name) for name in kept}}
    return without_pretrained(merged)


def _check_place(config: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Raise CheckpointError if the data are where the checkpoint says and nobody else does."""
    root = _at(stored, "data.root")
    if root is not None and _at(config, "data.root") is None and not os.environ.get(VARIABLE):
        raise CheckpointError(
            f"the images are needed to test: the run had them in data.root={root}, but a checkpoint's places are not "
            f"followed; give data.root=FOLDER, or set {VARIABLE} to a folder that holds {config['data']['name']}/"
        )


def _check_epochs(name: str, wanted: int, contents: Mapping[str, Any], path: Path) -> None:
    done = contents.get("loops", {}).get("fit_loop", {}).get("epoch_progress", {}).get("current", {})
    if wanted < done.get("processed", 0):
        raise CheckpointError(
            f"{name}={wanted} is less than the {done['processed']} epochs that {path} has behind it; set "
            "it to more, or use mode=test"
        )


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
        own = to_resume(root)
        if own:
            return own[0]
        files = [file for name in (LAST, PREVIOUS) for file in root.glob(f"**/{FOLDER}/{name}")]
        if not files:
            raise CheckpointError(
                f"ckpt_path=last found no {FOLDER}/{LAST} under {root}; give the path of one, or start again without "
                "ckpt_path"
            )
        newest = max(files, key=lambda file: (file.stat().st_mtime, file.name == LAST)).parent.parent
        return to_resume(newest.parent if newest.name == FIRST else newest)[0]
    chosen = Path(path)
    if chosen.is_dir():
        names = (BEST, LAST, PREVIOUS) if prefer_best else (LAST, PREVIOUS, BEST)
        files = [chosen / FOLDER / name for name in names if (chosen / FOLDER / name).exists()]
        if not prefer_best:
            files = [*to_resume(chosen), *files]
        if not files:
            raise CheckpointError(f"the run directory {chosen} holds no {FOLDER}/{names[0]}; give another ckpt_path")
        return files[0]
    if not chosen.exists():
        raise CheckpointError(f"no checkpoint at {chosen}; give a .ckpt file, a run directory, or last")
    return chosen


def read(path: Path) -> dict[str, Any]:
    """The contents of one of our checkpoints; runs no code from it.

    Raises:
        CheckpointError: not readable, damaged, or written by something else.
    """
    checkpoint: dict[str, Any] = _read_whole(path)
    if not _is_ours(checkpoint):
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
    renewed = training and config.get("ckpt_schedule") == "new"
    clashes = _changes(config, stored, _bound(config, stored, explicit, training, renewed))
    if clashes:
        remedy = "leave these out"
        if training and not renewed and any(clash.startswith(RENEWABLE) for clash in clashes):
            remedy += ", or go on with another learning rate or schedule by ckpt_schedule=new"
        raise CheckpointError(f"the checkpoint is of another run than asked for: {', '.join(clashes)}; {remedy}")
    merged: dict[str, Any] = copy.deepcopy(dict(stored))
    if renewed and _at(config, "schedule.name") != _at(stored, "schedule.name"):
        merged["schedule"] = copy.deepcopy(config["schedule"])
    if renewed and not any(name.startswith(RENEWABLE) and _at(config, name) != _at(stored, name) for name in explicit):
        raise CheckpointError("ckpt_schedule=new needs what is new: give optimizer.lr=... or schedule=...")
    # The bits of weights depend on the threads, which go on as they were.
    places = [] if training else ["threads", *(name for name in PLACES if _has(stored, name))]
    for name in [*places, *explicit, *OWN]:
        *sections, key = name.split(".")
        target = merged
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = copy.deepcopy(_at(config, name))
    return without_pretrained(merged)


def _bound(
    config: Mapping[str, Any], stored: Mapping[str, Any], explicit: list[str], training: bool, renewed: bool
) -> list[str]:
    """Names of options that must be the checkpoint's: of those the user set, and of what a new schedule brings."""
    guards = NETWORK + TRAINING if training else NETWORK
    if training and _at(stored, f"{AVERAGED}.enabled"):
        guards += (AVERAGED,)
    names = [name for name in explicit if _is_in(name, guards)]
    if not renewed:
        return names
    names = [name for name in names if name in FIXED or not name.startswith(RENEWABLE)]
    steps = "schedule.warmup_steps"  # whether the schedule counts epochs or steps
    another = _at(config, "schedule.name") != _at(stored, "schedule.name") or steps in explicit
    return names + [steps] * (another and bool(_at(config, steps)) != bool(_at(stored, steps)))


def without_pretrained(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` without pretrained weights, which a checkpoint's replace, but with the classifier they bring."""
    backbone = dict(config["backbone"])
    if backbone.get("weights") is None:
        return config
    if backbone.get("hidden") is None:
        backbone["hidden"] = list(BACKBONES.get(backbone["name"]).default_hidden(backbone["weights"]))
    return {**config, "backbone": {**backbone, "weights": None}}


def _changes(config: Mapping[str, Any], stored: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Those of the ``names`` that have another value, with both."""
    return [
        f"{name}={_at(config, name)} (checkpoint: {_at(stored, name)})"
        for name in names
        if _at(config, name) != _at(stored, name)
    ]


def _is_in(name: str, sections: Iterable[str]) -> bool:
    return any(name == section or name.startswith(f"{section}.") for section in sections)


def _read_whole(path: Path) -> Any:
    """What is in the file. Raises CheckpointError, also if a single bit of it has changed since it was written."""
    contents = read_file(path)
    check_whole(path)
    return contents


def _is_ours(contents: object) -> bool:
    return isinstance(contents, dict) and ConfigInCheckpoint.KEY in contents


def _at(config: Mapping[str, Any], name: str) -> Any:
    value: Any = config
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _has(config: Mapping[str, Any], name: str) -> bool:
    *sections, key = name.split(".")
    return key in (_at(config, ".".join(sections)) or {}) if sections else key in config
