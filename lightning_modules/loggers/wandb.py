"""Weights & Biases: online where it can be, offline everywhere else, never in the way."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from typing import Any, Literal

import wandb
from pytorch_lightning.loggers import WandbLogger
from wandb.errors import CommError, UsageError

from gcp.errors import OptionError, first_line
from lightning_modules import metric_names as names
from lightning_modules.epochs import CountedFromOne
from lightning_modules.loggers.media import STEP
from lightning_modules.run.job import AT_END
from lightning_modules.run.ranks import is_main_process
from lightning_modules.run.spec import Run
from lightning_modules.settings.callback_options import better
from lightning_modules.settings.loggers import WandbOptions

ID = "wandb.id"  # file of a run directory: the run of W&B that training writes into, also after it was resumed


class Metrics(CountedFromOne, WandbLogger):
    """Lightning's logger, with epochs counted from 1."""


def build(run: Run, options: WandbOptions) -> Metrics:
    """A logger on a run of W&B that is started here, so that it can fall back to offline.

    The resolved configuration is logged once, as the run's config. Training that is resumed in its own directory goes
    on in its run of W&B; offline, ``wandb sync`` joins the parts. It is closed when the job ends.
    """
    if not is_main_process():
        return Metrics(mode="disabled")
    AT_END.append(close)
    return Metrics(experiment=_start(run, options))


def close(exit_code: int) -> None:
    """End the run of this process, if there is one; the next job of a sweep would write into it otherwise."""
    if wandb.run is not None:
        wandb.finish(exit_code=exit_code)


def log_report(directory: Path, options: WandbOptions, group: str) -> None:
    """The table and the picture of a sweep's report, as a run of job type "report" in the sweep's group."""
    from lightning_modules.report.writing import CSV, PICTURE

    described = {
        "name": f"report-{group}",
        "group": options.group or group,
        "job_type": "report",
        "dir": str(directory),
    }
    experiment = _started(options, {**described, "tags": ["report", *options.tags]})
    with (directory / CSV).open(newline="") as file:
        header, *rows = csv.reader(file)
    experiment.log({"report/table": wandb.Table(columns=[*header], data=rows)})
    experiment.log({"report/picture": wandb.Image(str(directory / PICTURE))})
    wandb.finish()


def _start(run: Run, options: WandbOptions) -> Any:
    # A parameter of W&B's own sweeps locks the key of its name in the config.
    config = {"run": run.config} if os.environ.get("WANDB_SWEEP_ID") else run.config
    noted = run.directory / ID
    trained = run.config.get("mode", "fit") == "fit"
    goes_on = trained and bool(run.config.get("ckpt_path")) and not run.published and noted.exists()
    experiment = _started(
        options,
        {
            "name": options.run_name or run.name,
            "group": options.group or run.sweep or f"{run.backbone}-{run.dataset}",
            "job_type": run.config.get("mode", "fit"),
            "tags": [run.method, run.backbone, run.dataset, f"seed{run.seed}", *options.tags],
            "dir": str(run.directory),
            "config": config,
            **({"id": noted.read_text().strip()} if goes_on else {}),
        },
    )
    if trained and not experiment.disabled:
        noted.write_text(f"{experiment.id}\n")
    for stage in (names.VAL, names.TEST):
        for metric in names.RESULTS:
            experiment.define_metric(names.of(stage, metric), step_metric=STEP, summary=better(metric))
    for section in ("train", "spectrum", "grad", "time"):
        experiment.define_metric(f"{section}/*", step_metric=STEP)
    return experiment


def _started(options: WandbOptions, described: dict[str, Any]) -> Any:
    """A run of W&B, online where it can be. Raises OptionError for settings it does not take."""
    try:
        return _started_as_asked(options, described)
    except (UsageError, ValueError) as error:  # pydantic's are ValueErrors
        lines = [line.strip() for line in str(error).split("\n") if line.strip()]
        reason = ": ".join(lines[1:3]) if "validation error" in lines[0] else lines[0]
        raise OptionError(
            f"W&B refuses its settings: {reason}; mend logger.project, logger.tags or the variables WANDB_*"
        ) from error


def _started_as_asked(options: WandbOptions, described: dict[str, Any]) -> Any:
    mode, reason = _mode(options)
    arguments = {"project": options.chosen_project, "entity": options.entity, **described}
    if mode == "online":
        resume: Literal["allow"] | None = "allow" if "id" in described else None
        patience = wandb.Settings(quiet=True, init_timeout=options.timeout, login_timeout=options.timeout)
        try:
            return wandb.init(mode="online", settings=patience, resume=resume, **arguments)
        except (CommError, UsageError, TimeoutError) as error:
            wandb.teardown()  # what init started keeps trying otherwise
            mode, reason = "offline", f"the service did not take the run ({first_line(error)})"
    known: Any = mode  # one of wandb.init's words
    experiment = wandb.init(mode=known, settings=wandb.Settings(quiet=True), **arguments)
    if mode == "offline":
        print(f"W&B is offline: {reason}; upload later: wandb sync {experiment.settings.sync_dir}", file=sys.stderr)
    return experiment


def _mode(options: WandbOptions) -> tuple[str, str]:
    """W&B's own mode, and for offline the reason."""
    asked = os.environ.get("WANDB_MODE")
    if asked:
        known = {"online", "offline", "disabled", "shared"}
        return (asked, f"WANDB_MODE={asked}") if asked in known else ("offline", f"WANDB_MODE={asked} is unknown")
    if options.mode != "auto":
        return options.mode, f"logger.mode={options.mode}"
    if wandb.api.api_key is None:
        return "offline", "no API key is configured (wandb login)"
    return "online", ""
