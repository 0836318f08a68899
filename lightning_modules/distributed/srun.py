"""How the processes of a run find each other where Slurm's ``srun`` started them."""

from __future__ import annotations

import os

from pytorch_lightning.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment

from lightning_modules.run.ranks import slurm_tasks, under_torchrun


class Srun(SLURMEnvironment):
    """Lightning's, without its guesses from SLURM_NTASKS_PER_NODE, which is there only if somebody asked for it.

    See `lightning_modules.run.ranks.check_tasks` for what is checked instead, `lightning_modules.run.scheduler` for
    jobs that are queued again.
    """

    def __init__(self) -> None:
        super().__init__(auto_requeue=False)

    @staticmethod
    def _validate_srun_variables() -> None:
        """Nothing: see the class."""

    def world_size(self) -> int:
        """Number of tasks of this ``srun``, which may be less than the job has."""
        return slurm_tasks()


def environment() -> list[ClusterEnvironment]:
    """What a Trainer is told of where it runs; empty: it finds out by itself.

    It takes everything in a job of Slurm for a task of ``srun``: a batch script or a shell of ``salloc`` would wait for
    processes that nobody starts, and one task with several devices would train alone.
    """
    if under_torchrun():
        return []
    if slurm_tasks() > 1:
        return [Srun()]
    return [LightningEnvironment()] if "SLURM_JOB_ID" in os.environ else []
