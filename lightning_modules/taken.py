"""Run directories that hold a run already. Free of torch."""

from __future__ import annotations

import sys
from pathlib import Path

from gcp.errors import GCPError
from lightning_modules.checkpoint_names import to_resume
from lightning_modules.run import Run
from lightning_modules.summary import INTERRUPTED, RUNNING, holds_run, read_summary

STOPPED = (INTERRUPTED, RUNNING)  # the latter by SIGKILL: nobody is in the directory


class TakenError(GCPError, RuntimeError):
    """A run directory that holds another run."""


def refuse_taken(run: Run) -> None:
    """Raise TakenError if the directory of ``run`` holds a run, unless ``ckpt_path`` is that very run's.

    Nothing is lost by a report over an earlier report, or by starting a run over that was stopped before its first
    checkpoint; the latter is said.
    """
    directory, mode, path = run.directory, run.config["mode"], run.config["ckpt_path"]
    earlier = read_summary(directory)
    if not holds_run(directory) or mode == earlier.get("mode") == "report":
        return
    if path is not None and not run.published and directory.resolve() in Path(path).resolve().parents:
        return
    what = f"{directory} holds a run ({', '.join(_facts(earlier))})"
    resumable = to_resume(directory)
    if path is None and mode == earlier.get("mode") == "fit" and not resumable and earlier.get("status") in STOPPED:
        print(f"starting over in {directory}: the run there was stopped before its first checkpoint", file=sys.stderr)
        return
    if path is not None:
        raise TakenError(f"{what} which ckpt_path={path} is not of; give another hydra.run.dir")
    if mode == "fit" and resumable:
        raise TakenError(f"{what}; go on with it by ckpt_path=last, or give another hydra.run.dir")
    raise TakenError(f"{what}; give another hydra.run.dir, or remove it")


def _facts(summary: dict[str, object]) -> list[str]:
    named = (summary.get(name) for name in ("mode", "method", "dataset"))
    seed, status = summary.get("seed"), summary.get("status")
    return [str(each) for each in (*named, None if seed is None else f"seed {seed}", status or "unfinished") if each]
