"""What one command, or one job of a sweep, does from first to last. Free of torch until the mode starts."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from datamodules.reading import dead_processes_named
from lightning_modules.run.directory import refuse_taken
from lightning_modules.run.find_checkpoint import to_resume
from lightning_modules.run.job import InterruptedRunError, job
from lightning_modules.run.normalisation import with_normalisation_of_run
from lightning_modules.run.ranks import check_tasks, is_main_process
from lightning_modules.run.scheduler import queue_again
from lightning_modules.run.spec import Run
from lightning_modules.run.summary import ASKED, CONFIG, Summary
from lightning_modules.run.threads import torch_threads
from lightning_modules.run.without_effect import without_effect

OF_SEVERAL_PROCESSES = ("fit", "test")  # modes


@dataclasses.dataclass(frozen=True)
class Command:
    """What a person asked for.

    Attributes:
        directory: the run directory.
        known: mode, method, backbone, dataset and seed, as asked for.
        arguments: as they were given.
        options_set: gives the dotted names of the options they set.
        directory_given: whether they name the run directory.
        sweep: name of the sweep it is a job of.
    """

    directory: Path
    known: dict[str, Any]
    arguments: list[str]
    options_set: Callable[[], list[str]]
    directory_given: bool = False
    sweep: str | None = None


def carry_out(command: Command, checked: Callable[[], dict[str, Any]]) -> None:
    """Check the configuration, then do what its ``mode`` says, in the run directory.

    A scheduler's job that was stopped and runs again goes on from its own last checkpoint.

    Args:
        command: what was asked for.
        checked: gives the configuration as plain values, or raises an error if it is wrong.

    Raises:
        GCPError: what was refused or failed; see `job`.
    """
    requeue = True
    try:
        with job(command.directory, kept=command.sweep is not None, **command.known) as summary, dead_processes_named():
            if not (command.directory / ASKED).exists():  # a run that goes on stays what it was asked for
                summary.note(ASKED, OmegaConf.to_yaml(OmegaConf.create(command.arguments)))
            config = checked()
            requeue = config["trainer"]["requeue"]
            _carry_out(command, config, summary)
    except InterruptedRunError as stop:
        if requeue and is_main_process():
            queue_again(stop.signum)
        raise


def _carry_out(command: Command, config: dict[str, Any], summary: Summary) -> None:
    directory, mode = command.directory, config["mode"]
    if mode not in OF_SEVERAL_PROCESSES:
        check_tasks(1, 1, f"mode={mode}")
    said = without_effect(mode, command.arguments)
    if said is not None and is_main_process():
        print(f"note: {said}", file=sys.stderr)
    left = to_resume(directory) if summary.again and mode == "fit" else None
    if left is not None:
        config.update(ckpt_path=str(left), ckpt_triangle="upper", ckpt_classifier="load", ckpt_schedule="load")
    run = Run(directory, config)
    if config["ckpt_path"] is not None:
        from lightning_modules.run.restore import restore

        run = restore(run, command.options_set(), command.directory_given)
        summary.update(**run.known)
    run = dataclasses.replace(run, config=with_normalisation_of_run(run.config))
    if command.sweep is not None:
        run = dataclasses.replace(run, sweep=command.sweep)
    elif is_main_process() and not summary.again:
        refuse_taken(run)
    if mode == "fit" or (mode != "report" and not (directory / CONFIG).exists()):
        summary.note(CONFIG, OmegaConf.to_yaml(OmegaConf.create(run.config)))
    with torch_threads(run.config["threads"]):
        import_module(f"lightning_modules.modes.{mode}").run(run, summary)
