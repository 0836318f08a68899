"""A run of ``python run.py`` in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from pytorch_lightning.callbacks import Callback

import conf
from conf.check_options import check
from conf.schema import register
from lightning_modules.modes import fit
from lightning_modules.run.job import job
from lightning_modules.run.spec import Run

ONE_EPOCH = ("trainer.max_epochs=1", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1")


def train(overrides: Sequence[str], steps: int, callbacks: Sequence[Callback] = ()) -> tuple[Run, dict[str, Any]]:
    """One epoch of ``steps`` steps, validation and test of a batch each: the run, whose folder is gone, its summary."""
    with tempfile.TemporaryDirectory() as folder:
        return fitted(Path(folder), [*overrides, *ONE_EPOCH, f"trainer.limit_train_batches={steps}"], callbacks)


def fitted(folder: Path, overrides: Sequence[str], callbacks: Sequence[Callback] = ()) -> tuple[Run, dict[str, Any]]:
    """A whole training in ``folder``: the run and its summary."""
    register()
    with initialize_config_dir(str(Path(conf.__file__).parent), version_base="1.3"):
        plain = check(compose("config", list(overrides)))
    run = Run(folder, plain)
    with job(run.directory, mode="fit") as summary:
        fit.run(run, summary, list(callbacks))
    return run, summary.fields
