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
    if slurm_tasks() > 1:
        return int(os.environ["SLURM_PROCID"])
    return int(os.environ.get("NODE_RANK", 0)) + int(os.environ.get("LOCAL_RANK", 0))  # 0 only for the very first


def is_main_process() -> bool:
    """Whether this process is the one that writes files and messages."""
    return global_rank() == 0


def started_elsewhere() -> bool:
    """Whether torchrun or Slurm started this process as one of several."""
    if under_torchrun():
        return int(os.environ.get("WORLD_SIZE", 1)) > 1
    return slurm_tasks() > 1


def under_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def slurm_tasks() -> int:
    """Number of processes that Slurm's ``srun`` started as one run; 1 in a batch script itself, and in a terminal.

    A batch script and a shell of ``salloc`` see the tasks they may start (SLURM_NTASKS), but are none of them.
    """
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) if _started_by_slurm() else 1


def under_slurm() -> bool:
    """Whether this is work that Slurm started by itself, and no person in a shell: ``salloc``, ``srun --pty bash``.

    By the rule Lightning goes by, a job of one process that is named bash or interactive is such a shell too.
    """
    shell = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return _started_by_slurm() and not (shell and slurm_tasks() == 1)


def _started_by_slurm() -> bool:
    if "SLURM_PROCID" not in os.environ or "SLURM_JOB_ID" not in os.environ:  # a shell of salloc has no number
        return False
    # The shell of srun --pty is the only task with a terminal, and this process is not the task itself. The variable
    # alone says nothing: a job that is queued from there inherits it.
    terminal = "SLURM_PTY_PORT" in os.environ and sys.stdin is not None and sys.stdin.isatty()
    return not terminal or os.environ.get("SLURM_TASK_PID") == str(os.getpid())


def check_tasks(devices: int, machines: int, where: str) -> None:
    """Raise OptionError if ``srun`` started another number of processes than this run is made of.

    Args:
        devices: of the run on each machine.
        machines: of the run.
        where: what says so.
    """
    tasks = slurm_tasks()
    if under_torchrun() or tasks in (1, devices * machines):
        return
    raise OptionError(
        f"srun started {tasks} processes, and the run is one of {devices * machines} ({where}): give trainer=ddp, or "
        f"ddp_cpu, with trainer.devices and trainer.num_nodes whose product is {tasks}, or srun --ntasks=1"
    )


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
