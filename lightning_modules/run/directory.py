"""The run directory: a name that all processes of a run share, and the refusal where it holds another run.

Free of torch, until torchrun is asked for the name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from gcp.errors import GCPError
from lightning_modules.run.find_checkpoint import to_resume
from lightning_modules.run.ranks import is_main_process, started_elsewhere, under_slurm, under_torchrun
from lightning_modules.run.scheduler import job_id
from lightning_modules.run.spec import Run
from lightning_modules.run.summary import INTERRUPTED, RUNNING, holds_run, read_summary

START = "GCP_START"  # variable of the environment, read by hydra.run.dir and hydra.sweep.dir; they take the time else
PATIENCE = timedelta(minutes=5)  # of a process for the first one's name
STOPPED = (INTERRUPTED, RUNNING)  # RUNNING, but no process is in the directory any more: it was killed


class TakenError(GCPError, RuntimeError):
    """A run directory that holds another run."""


@contextmanager
def shared_start() -> Iterator[None]:
    """Give the directories a name that is the same in all processes, if torchrun or Slurm started this one.

    Under Slurm the job's number, so that a job that is requeued comes back to its directory; under torchrun the time
    at which the first process asked, handed on through torchrun's own store.
    """
    name = None if START in os.environ else _name()
    if name is not None:
        os.environ[START] = name
    try:
        yield
    finally:
        if name is not None:
            del os.environ[START]


def refuse_taken(run: Run) -> None:
    """Raise TakenError if the directory of ``run`` holds a run, unless ``ckpt_path`` is that very run's.

    Nothing is lost by a report over an earlier report, by writing shards that were stopped, which left none, or by
    starting a run over that was stopped before its first checkpoint; the latter is said.
    """
    directory, mode, path = run.directory, run.config["mode"], run.config["ckpt_path"]
    earlier = read_summary(directory)
    if not holds_run(directory) or mode == earlier.get("mode") == "report":
        return
    if mode == earlier.get("mode") == "shards" and earlier.get("status") in STOPPED:
        return
    if path is not None and not run.published and directory.resolve() in Path(path).resolve().parents:
        return
    what = f"{directory} holds a run ({', '.join(_described(earlier))})"
    resumable = to_resume(directory)
    if path is None and mode == earlier.get("mode") == "fit" and not resumable and earlier.get("status") in STOPPED:
        print(f"starting over in {directory}: the run there was stopped before its first checkpoint", file=sys.stderr)
        return
    if path is not None:
        raise TakenError(f"{what} which ckpt_path={path} is not of; give another hydra.run.dir")
    if mode == "fit" and resumable:
        raise TakenError(f"{what}; go on with it by ckpt_path=last, or give another hydra.run.dir")
    raise TakenError(f"{what}; give another hydra.run.dir, or remove it")


def _name() -> str | None:
    if under_slurm():
        return f"slurm-{job_id()}"
    if under_torchrun() and started_elsewhere():
        return _agreed(f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}")
    return None


def _agreed(proposal: str) -> str:
    """The proposal of the first process, in all of them."""
    from torch.distributed import TCPStore

    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=PATIENCE)
    key = f"{START}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    if is_main_process():
        store.set(key, proposal)
    return str(store.get(key).decode())


def _described(summary: dict[str, object]) -> list[str]:
    named = (summary.get(name) for name in ("mode", "method", "dataset"))
    seed, status = summary.get("seed"), summary.get("status")
    return [str(each) for each in (*named, None if seed is None else f"seed {seed}", status or "unfinished") if each]
