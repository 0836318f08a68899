"""Runs on several machines: who starts their processes. Free of torch."""

from __future__ import annotations

import os
import sys

from gcp.errors import OptionError
from lightning_modules.distributed.ranks import started_elsewhere

BY_HAND = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


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
