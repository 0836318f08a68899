"""Two stages of training as one run."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gcp.options import make_options
from lightning_modules.distributed.ranks import is_main_process
from lightning_modules.run import Run
from lightning_modules.settings.second_stage import SecondStageOptions
from lightning_modules.summary import OK, Summary, read_summary

FIRST = "stage1"  # directory of the first stage within the run's


def second_stage(run: Run, fit: Callable[[Run, Summary], None]) -> Run:
    """The run as its second stage, after the first has been trained; a run of one stage as it is.

    The first stage is a run of its own in ``stage1/``. If it is finished there it is not done again, and if it was
    interrupted it goes on, so that the same command in the same directory completes what is missing. A checkpoint of
    either stage holds the configuration of that stage alone.

    Args:
        run: the run as it was asked for.
        fit: trains a run of one stage.
    """
    options = make_options(SecondStageOptions, run.config.get("second_stage", {}), "section 'second_stage'")
    if options.epochs is None:
        return run
    directory = run.directory / FIRST
    first = {**copy.deepcopy(run.config), "second_stage": {}}
    if read_summary(directory).get("status") != OK:
        _train(first, directory, run, fit)
    second = copy.deepcopy(first)
    second["trainer"]["max_epochs"] = options.epochs
    second["backbone"]["frozen"] = options.frozen
    second["data"]["batch_size"] = options.batch_size or second["data"]["batch_size"]
    for name in ("lr", "classifier_factor"):
        second["optimizer"][name] = getattr(options, name) or second["optimizer"][name]
    best = directory / "checkpoints" / "best.ckpt"
    return dataclasses.replace(run, config=second, initial=best)


def _train(config: dict[str, Any], directory: Path, run: Run, fit: Callable[[Run, Summary], None]) -> None:
    facts = {"method": run.method, "backbone": run.backbone, "dataset": run.dataset, "seed": run.seed}
    summary = Summary(directory, write=is_main_process(), mode="fit", **facts)
    last = directory / "checkpoints" / "last.ckpt"
    resumed = {**config, "ckpt_path": str(last)} if last.exists() else config
    try:
        fit(Run(directory, resumed), summary)
    except BaseException as error:
        summary.failed(error)
        raise
    summary.ok()
