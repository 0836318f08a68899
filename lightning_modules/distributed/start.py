"""When a run started, as all its processes call it: they then share one directory. Free of torch until torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from lightning_modules.distributed.ranks import is_main_process, started_elsewhere, under_slurm, under_torchrun

NAME = "GCP_START"  # read by hydra.run.dir and hydra.sweep.dir; without it they take the time
PATIENCE = timedelta(minutes=5)


@contextmanager
def shared_start() -> Iterator[None]:
    """Give the directories a name that is the same in all processes, if torchrun or Slurm started this one.

    Under Slurm the job's number, so that a job that is requeued comes back to its directory; under torchrun the time
    at which the first process asked, handed on through torchrun's own store.
    """
    name = None if NAME in os.environ else _name()
    if name is not None:
        os.environ[NAME] = name
    try:
        yield
    finally:
        if name is not None:
            del os.environ[NAME]


def _name() -> str | None:
    if under_torchrun() and started_elsewhere():
        return _agreed(f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}")
    if under_slurm() and "SLURM_JOB_ID" in os.environ:
        array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        return f"slurm-{os.environ['SLURM_JOB_ID']}" if array is None else f"slurm-{array}_{task}"
    return None


def _agreed(proposal: str) -> str:
    """The proposal of the first process, in all of them."""
    from torch.distributed import TCPStore

    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=PATIENCE)
    key = f"{NAME}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    if is_main_process():
        store.set(key, proposal)
    return str(store.get(key).decode())
