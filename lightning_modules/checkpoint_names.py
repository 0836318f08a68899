"""Names of a run's checkpoints, and which of them a requeued job goes on from. Free of torch."""

from __future__ import annotations

import os
from pathlib import Path

from lightning_modules.distributed.ranks import under_slurm

FOLDER = "checkpoints"
BEST = "best.ckpt"
LAST = "last.ckpt"
PREVIOUS = "last.previous.ckpt"
REQUEUED = "hpc_ckpt_*.ckpt"  # Lightning's, beside the folder, when Slurm announces the end of the job


def requeued(directory: Path) -> Path | None:
    """The newest checkpoint a job of Slurm that runs again left in its run directory; none: it starts anew."""
    if not under_slurm() or int(os.environ.get("SLURM_RESTART_COUNT", 0)) == 0:
        return None
    found = [*directory.glob(REQUEUED), *(directory / FOLDER).glob(LAST)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)
