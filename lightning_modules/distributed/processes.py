"""The processes of a run on several devices of this machine, started and ended with it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from gcp.errors import GCPError, first_line
from lightning_modules.run.interruption import Interrupted
from lightning_modules.run.spec import Run

PATIENCE = 20.0  # seconds the main process has to end by itself when another one has failed
LOOK = 0.2  # seconds between two looks at them


class ProcessError(GCPError, RuntimeError):
    """A run of several processes that one of them ended."""


@contextmanager
def processes(trainer: pl.Trainer, run: Run, failed: Callable[[str], None]) -> Iterator[None]:
    """The run's other processes on this machine, for the time of the block; everything is as before afterwards.

    Lightning's launcher would run the command line again in each, which inside a sweep is the whole sweep. Here each
    gets the resolved run instead (see `lightning_modules.distributed.worker`). Where torchrun or Slurm started the
    processes, or with one device, none is started. `torch.distributed.launcher` is not used: its agent starts all
    processes anew, the first too, which here has the run directory's lock, the terminal and its signals already.

    Args:
        trainer: for the number of devices and the way processes find each other.
        run: what the others do too.
        failed: takes the reason if another process fails and this one cannot be stopped in an orderly way.

    Raises:
        ProcessError: another process failed, with its reason.
    """
    before, threads = dict(os.environ), torch.get_num_threads()
    others = _start(trainer, run)
    watch = _Watch(others, failed)
    try:
        yield
    except (GCPError, KeyboardInterrupt, SystemExit, Interrupted):
        watch.stop()
        raise
    except Exception as error:
        reason = watch.reason(wait=5.0)  # a process that is gone breaks the connection of the others
        if reason is None and isinstance(error, torch.distributed.DistNetworkError):
            where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
            reason = f"the processes cannot meet at {where}: {first_line(error)}; set another MASTER_PORT"
        if reason is None:
            raise
        raise ProcessError(reason) from error
    else:
        _leave(others)
        reason = watch.reason(wait=0.0)
        if reason is not None:
            raise ProcessError(reason)
    finally:
        watch.stop()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
        torch.set_num_threads(threads)
        if others:
            rank_zero_only.rank = 0  # type: ignore[attr-defined]  # set by Lightning too


def _start(trainer: pl.Trainer, run: Run) -> list[subprocess.Popen[str]]:
    environment = trainer.strategy.cluster_environment if isinstance(trainer.strategy, DDPStrategy) else None
    if not isinstance(environment, LightningEnvironment) or environment.creates_processes_externally:
        return []
    node, devices = environment.node_rank(), trainer.num_devices
    shared = {
        "MASTER_ADDR": environment.main_address,
        "MASTER_PORT": str(environment.main_port),
        "NODE_RANK": str(node),
        "WORLD_SIZE": str(trainer.world_size),
    }
    os.environ.update(shared, LOCAL_RANK="0", RANK=str(node * devices))
    others = []
    for local in range(1, devices):
        variables = {
            **os.environ,
            "LOCAL_RANK": str(local),
            "RANK": str(node * devices + local),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        other = subprocess.Popen(
            [sys.executable, "-m", "lightning_modules.distributed.worker"],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdin is not None
        other.stdin.write(json.dumps(dataclasses.asdict(run), default=str) + "\n")
        other.stdin.flush()  # and stays open: its end tells the other that this process is gone
        others.append(other)
    return others


def _leave(others: list[subprocess.Popen[str]]) -> None:
    """Wait for those that still have to finish the same work."""
    deadline = time.monotonic() + PATIENCE
    for other in others:
        try:
            other.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            other.kill()


class _Watch:
    """Looks after the others; ends this process too if one has failed and this one waits for it in vain.

    A worker's standard output holds one line if it failed: why.
    """

    def __init__(self, others: list[subprocess.Popen[str]], failed: Callable[[str], None]) -> None:
        self.others = others
        self.failed = failed
        self._reason: str | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        if others:
            self._thread.start()

    def reason(self, wait: float) -> str | None:
        """Why one of the others failed, after at most ``wait`` seconds; None: none of them has failed."""
        deadline = time.monotonic() + wait
        while self._reason is None:
            self._note()
            if time.monotonic() >= deadline or self._reason is not None:
                break
            time.sleep(LOOK)
        return self._reason

    def stop(self) -> None:
        """End all of them."""
        self._over.set()
        for other in self.others:
            if other.poll() is None:
                other.kill()
            other.wait()
            for pipe in (other.stdin, other.stdout):
                assert pipe is not None
                pipe.close()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def _note(self) -> None:
        for other in self.others:
            if self._reason is None and other.poll() not in (None, 0):
                assert other.stdout is not None
                lines = other.stdout.read().strip().split("\n")
                local = self.others.index(other) + 1
                self._reason = lines[-1] or f"process {local} of the run ended with code {other.returncode}"

    def _look(self) -> None:
        since = None
        while not self._over.wait(LOOK):
            if any(other.poll() not in (None, 0) for other in self.others):
                since = since or time.monotonic()
                if time.monotonic() - since > PATIENCE:
                    self._give_up()

    def _give_up(self) -> None:
        """The main thread waits inside a collective operation that no exception reaches."""
        self._note()
        assert self._reason is not None
        self.failed(self._reason)
        print(f"error: {self._reason}", file=sys.stderr, flush=True)
        for other in self.others:
            other.kill()
        os._exit(1)
