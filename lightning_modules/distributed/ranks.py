"""Which of a run's processes this one is, from what torchrun, Slurm or this project put into the environment.

Free of torch: it is asked before anything heavy is imported.
"""

from __future__ import annotations

import os


def global_rank() -> int:
    """Number of this process among all of the run, on all machines; 0 writes the files and the messages.

    Outside torchrun and Slurm the first process of each machine is started by hand, with NODE_RANK; see `processes`.
    """
    if "RANK" in os.environ:
        return int(os.environ["RANK"])
    if under_slurm():
        return int(os.environ.get("SLURM_PROCID", 0))
    return int(os.environ.get("NODE_RANK", 0)) + int(os.environ.get("LOCAL_RANK", 0))  # 0 only for the very first


def is_main_process() -> bool:
    """Whether this process is the one that writes files and messages."""
    return global_rank() == 0


def started_elsewhere() -> bool:
    """Whether torchrun or Slurm started this process as one of several."""
    if under_torchrun():
        return int(os.environ.get("WORLD_SIZE", 1)) > 1
    return under_slurm() and int(os.environ["SLURM_NTASKS"]) > 1


def under_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def under_slurm() -> bool:
    """Whether this is a batch job of Slurm, by the rule Lightning goes by: not one named bash or interactive."""
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
