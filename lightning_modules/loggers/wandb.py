"""Weights & Biases: online where it can be, offline everywhere else, never in the way."""

from __future__ import annotations

import os
import sys
from typing import Any

import wandb
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from wandb.errors import CommError, UsageError

from lightning_modules.run import Run
from lightning_modules.settings.loggers import WandbOptions


def build(run: Run, options: WandbOptions) -> WandbLogger:
    """A logger on a run of W&B that is started here, so that it can fall back to offline.

    The resolved configuration is logged once, as the run's config. Close it with `close`.
    """
    if rank_zero_only.rank != 0:
        return WandbLogger(mode="disabled")
    return WandbLogger(experiment=_start(run, options))


def close(exit_code: int) -> None:
    """End the run of this process, if there is one; the next job of a sweep would write into it otherwise."""
    if wandb.run is not None:
        wandb.finish(exit_code=exit_code)


def _start(run: Run, options: WandbOptions) -> Any:
    mode, reason = _mode(options)
    arguments = {
        "project": options.project,
        "entity": options.entity,
        "name": options.run_name or run.name,
        "group": options.group or f"{run.backbone}-{run.dataset}",
        "tags": [run.method, run.backbone, run.dataset, f"seed{run.seed}", *options.tags],
        "dir": str(run.directory),
        "config": run.config,
    }
    if mode == "online":
        patience = wandb.Settings(quiet=True, init_timeout=options.timeout, login_timeout=options.timeout)
        try:
            return wandb.init(mode=mode, settings=patience, **arguments)
        except (CommError, UsageError, TimeoutError) as error:
            wandb.teardown()  # what init started keeps trying otherwise
            mode, reason = "offline", f"the service did not take the run ({str(error).splitlines()[0]})"
    experiment = wandb.init(mode=mode, settings=wandb.Settings(quiet=True), **arguments)
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
