"""Weights & Biases: online where it can be, offline everywhere else, never in the way."""

from __future__ import annotations

import os
from typing import Any

import wandb
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_info, rank_zero_only
from wandb.errors import CommError, UsageError

from lightning_modules.run import Run
from lightning_modules.settings import WandbOptions


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
        try:
            patience = wandb.Settings(init_timeout=options.timeout, login_timeout=options.timeout)
            return wandb.init(mode=mode, settings=patience, **arguments)
        except (CommError, UsageError, TimeoutError) as error:
            wandb.teardown()
            if options.mode == "online" or os.environ.get("WANDB_MODE"):
                reason = f"the service did not take the run ({error})"
            else:
                reason = f"the service did not answer ({str(error).splitlines()[0]})"
            mode = "offline"
    experiment = wandb.init(mode=mode, **arguments)
    if mode == "offline":
        rank_zero_info(f"W&B: offline, because {reason}; upload later with: wandb sync {experiment.dir}/..")
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
