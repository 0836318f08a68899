"""Runs that start from a checkpoint: finding it, reading it, and going by the configuration inside it."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datamodules.datasets import DATASETS
from datamodules.location import VARIABLE
from datamodules.options import StreamOptions
from gcp.errors import CheckpointError
from lightning_modules.run.checkpoint_names import CONFIG_KEY, FOLDER_KEY, RESUME, STAGES
from lightning_modules.run.find_checkpoint import find
from lightning_modules.run.merge_config import (
    FREE,
    SECOND,
    changes,
    is_in,
    merge,
    value_at,
    with_folder,
    with_network,
    without_pretrained,
)
from lightning_modules.run.ranks import is_main_process
from lightning_modules.run.read_checkpoint import as_saved, is_ours, readable
from lightning_modules.run.spec import Run
from lightning_modules.settings.callbacks import CALLBACKS

LOADING = "data.num_workers"
ROOTS = (Path("outputs"), Path("multirun"))  # folders of all runs, and of all sweeps


def restore(run: Run, explicit: list[str], directory_given: bool, roots: Sequence[Path] = ROOTS) -> Run:
    """The run its ``ckpt_path`` describes, with what the user asked for on top; see `find`, `read` and `merge`.

    A published checkpoint describes no run: the configuration stays what was composed, and its weights come in later.
    """
    training = run.config["mode"] == "fit"
    path = find(run.config["ckpt_path"], run.directory, directory_given, roots, prefer_best=not training)
    path, contents = readable(path)
    if not is_ours(contents):
        config = without_pretrained({**run.config, "ckpt_path": str(path)})
        return Run(run.directory, config, 0 if training else None, published=True)
    if run.config["ckpt_triangle"] != "upper":
        raise CheckpointError(f"ckpt_triangle is for published checkpoints; {path} was written by run.py")
    if FOLDER_KEY in contents:
        fresh = run.config["ckpt_classifier"] == "new"
        config = with_folder(run.config, as_saved(contents[CONFIG_KEY], contents), explicit, training, fresh)
        return Run(run.directory, {**config, "ckpt_path": str(path)}, 0 if training else None, published=training)
    if run.config["ckpt_classifier"] == "new":
        config = with_network(run.config, as_saved(contents[CONFIG_KEY], contents), explicit)
        return Run(run.directory, {**config, "ckpt_path": str(path)}, published=True)
    if not training:
        stored = as_saved(contents[CONFIG_KEY], contents)
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
    stored = contents[CONFIG_KEY] if stages is None else stages["config"]
    for name in SECOND if stage == 2 else ():
        if name in explicit and value_at(run.config, name) != value_at(stored, name):
            raise CheckpointError(f"{path} is of the second of two stages; set {SECOND[name]} instead of {name}")
    config = merge(run.config, stored, explicit, training)
    epochs = SECOND["trainer.max_epochs"] if stage == 2 else "trainer.max_epochs"
    _check_epochs(epochs, value_at(config, epochs), contents, path)
    free = (*FREE, *(f"callbacks.{name}" for name in CALLBACKS.names() if CALLBACKS.get(name).watches))
    bound = [name for name in explicit if not is_in(name, free) or (name == LOADING and _order_differs(config, stored))]
    changed = changes(run.config, stored, bound)
    if changed and is_main_process():
        print(
            f"going on with other options than so far: {', '.join(changed)}; the weights will differ from those of a "
            "run that has them throughout",
            file=sys.stderr,
        )
    return going_on(dataclasses.replace(run, config=config, checkpoint_stage=stage), path, contents)


def going_on(run: Run, path: Path, contents: Mapping[str, Any]) -> Run:
    """``run`` as it trains on from the checkpoint of ours at ``path``, which holds ``contents``."""
    rows = contents.get(RESUME, {}).get("rows")
    config = {**run.config, "ckpt_path": str(path)}
    return dataclasses.replace(run, config=config, steps_done=contents["global_step"], rows_done=rows, published=False)


def stored_config(path: str, directory: Path | None, training: bool) -> dict[str, Any] | None:
    """The configuration in the checkpoint that ``path`` means, with the method of the moment; None: a published one.

    Raises CheckpointError as `find` and `read`.
    """
    chosen = find(path, directory or Path(), directory is not None, ROOTS, prefer_best=not training)
    _, contents = readable(chosen, say=False)
    if not is_ours(contents):
        return None
    stored: dict[str, Any] = contents[CONFIG_KEY]
    if FOLDER_KEY in contents and training:  # on data of one's own
        return {section: stored[section] for section in ("method", "backbone")}
    return stored if training else as_saved(stored, contents)


def _order_differs(config: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Whether the images come in another order, because there are more or fewer processes to load a stream."""
    data = config["data"]
    if not issubclass(DATASETS.get(data["name"]).options, StreamOptions) or data.get("streaming") is False:
        return False
    now, before = (max(int(value_at(each, LOADING) or 0), 1) for each in (config, stored))
    return now != before


def _check_place(config: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Raise CheckpointError if the data are where the checkpoint says and nobody else does."""
    urls = value_at(stored, "data.urls")
    if urls is not None and value_at(config, "data.urls") is None:
        raise CheckpointError(
            f"the images are needed to test: the run had them in data.urls={urls}, but a checkpoint's places are not "
            "followed; give data.urls=FOLDER"
        )
    root = value_at(stored, "data.root")
    if root is not None and value_at(config, "data.root") is None and not os.environ.get(VARIABLE):
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
