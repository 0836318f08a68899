"""Which of a run's processes this one is, from what torchrun, Slurm or this project put into the environment.

Free of torch: it is asked before anything heavy is imported.
"""

from __future__ import annotations

import os
import sys

from gcp.errors import OptionError

BY_HAND = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")  # what a person sets who starts a process on each machine


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


def check_machines(count: int) -> None:
    """Raise OptionError if a run on ``count`` machines would wait for processes that nobody starts.

    Where a person starts one on each machine, say that this one waits for the others.
    """
    if count == 1 or started_elsewhere():
        return
    missing = [name for name in BY_HAND if name not in os.environ]
    if missing:
        raise OptionError(
            f"trainer.num_nodes={count} needs a process on each machine, and this one was started alone: use torchrun "
            f"--nnodes={count} with its rendezvous, or srun --nodes={count}; by hand, set {', '.join(missing)} and run "
            "the same command on each"
        )
    where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    print(f"machine {os.environ['NODE_RANK']} of {count}: waiting for the others at {where}", file=sys.stderr)
