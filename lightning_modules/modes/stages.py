"""Two stages of training as one run."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

from gcp.options import make_options
from lightning_modules.run.checkpoint_names import BEST, FIRST, FOLDER
from lightning_modules.run.find_checkpoint import last_in
from lightning_modules.run.interruption import Interrupted, came_from
from lightning_modules.run.ranks import is_main_process
from lightning_modules.run.read_checkpoint import readable
from lightning_modules.run.restore import going_on
from lightning_modules.run.spec import Run
from lightning_modules.run.summary import OK, Summary, read_summary
from lightning_modules.settings.training import SecondStageOptions


def second_stage(run: Run, summary: Summary, fit: Callable[[Run, Summary], None]) -> Run:
    """The run as its second stage, after the first has been trained; a run of one stage as it is.

    The first stage is a run of its own in ``stage1/``. If it is finished there it is not done again, and what was
    interrupted goes on, so that the same command in the same directory completes what is missing. A checkpoint of
    either stage holds the configuration of that stage, for what is done with its network, and that of the whole run,
    for going on.

    Args:
        run: the run as it was asked for.
        summary: its summary.
        fit: trains a run of one stage.
    """
    options = make_options(SecondStageOptions, run.config.get("second_stage", {}), "section 'second_stage'")
    if options.epochs is None:
        return run
    directory = run.directory / FIRST
    whole = {**run.config, "ckpt_path": None}
    first = dataclasses.replace(
        run, directory=directory, config={**run.config, "second_stage": {}}, stage=1, stages=whole
    )
    if run.checkpoint_stage != 2 and read_summary(directory).get("status") != OK:
        _train(first, summary, fit)
    config = copy.deepcopy({**whole, "second_stage": {}})
    config["trainer"]["max_epochs"] = options.epochs
    config["backbone"]["frozen"] = options.frozen
    config["data"]["batch_size"] = options.batch_size or config["data"]["batch_size"]
    for name in ("lr", "classifier_factor"):
        config["optimizer"][name] = getattr(options, name) or config["optimizer"][name]
    second = dataclasses.replace(run, config=config, stage=2, stages=whole)
    if run.checkpoint_stage == 2:
        return dataclasses.replace(second, config={**config, "ckpt_path": run.config["ckpt_path"]})
    return _left(second) or dataclasses.replace(
        second, initial=directory / FOLDER / BEST, steps_done=0, rows_done=None, published=False
    )


def _train(run: Run, outer: Summary, fit: Callable[[Run, Summary], None]) -> None:
    summary = Summary(run.directory, write=is_main_process(), outer=outer, mode="fit", **run.known)
    try:
        fit(run if run.config["ckpt_path"] is not None else _left(run) or run, summary)
    except BaseException as error:
        stop = came_from(error, Interrupted)
        if summary.begun and stop is not None:
            summary.interrupted(f"{stop}; go on with the run in {run.directory.parent}")
        elif summary.begun:
            summary.failed(error)
        raise
    summary.ok()


def _left(run: Run) -> Run | None:
    """The stage as it goes on from a checkpoint an earlier attempt left in its directory; None: there is none."""
    last = last_in(run.directory)
    return None if last is None else going_on(run, *readable(last))
