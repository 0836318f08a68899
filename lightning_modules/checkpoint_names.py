"""Names of a run's checkpoints, and which of them a requeued job goes on from. Free of torch."""

from __future__ import annotations

import os
from pathlib import Path

from lightning_modules.distributed.ranks import under_slurm

FOLDER = "checkpoints"
BEST = "best.ckpt"
LAST = "last.ckpt"
PREVIOUS = "last.previous.ckpt"
FIRST = "stage1"  # directory of the first of two stages within the run's
RESUME, STAGES = "resume", "stages"  # keys in a checkpoint: see `Resume`, `ConfigInCheckpoint`
REQUEUED = "hpc_ckpt_*.ckpt"  # Lightning's, beside the folder, when Slurm announces the end of the job


def requeued(directory: Path) -> Path | None:
    """The newest checkpoint a job of Slurm that runs again left in its run directory; none: it starts anew."""
    if not queued_again():
        return None
    found = [path for each in (directory, directory / FIRST) for path in each.glob(REQUEUED)]
    return max([*found, *to_resume(directory)], key=lambda path: path.stat().st_mtime, default=None)


def to_resume(directory: Path) -> list[Path]:
    """The checkpoint a run goes on from in its directory, in a list that is empty if there is none.

    ``last.ckpt``, or the one before it where that alone is left; of the second stage if that has begun.
    """
    return [*last_in(directory), *last_in(directory / FIRST)][:1]


def last_in(directory: Path) -> list[Path]:
    """The same, of a run of one stage, or of one of the stages."""
    return [path for name in (LAST, PREVIOUS) if (path := directory / FOLDER / name).exists()][:1]


def queued_again() -> bool:
    """Whether this is a job of Slurm that runs again, in the directory of its first time."""
    return under_slurm() and int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0
