"""The file of a search: every trial, its values and what came of it. Several processes may write into it."""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from gcp.errors import DataError, MissingDependencyError
from lightning_modules.settings.search import SearchOptions

FILE = "search.journal"
NAME = "search"  # of the study within it


def need_optuna() -> None:
    """Raise MissingDependencyError without Optuna."""
    if find_spec("optuna") is None:
        raise MissingDependencyError("a search needs optuna; install it: pip install '.[search]'")


def open_study(file: Path, direction: Literal["maximize", "minimize"] | None = None, pruner: Any = None) -> Any:
    """The study in ``file``; with a ``direction``, a new one if there is none.

    Raises DataError if the file is damaged.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _mend(file)
    idle = optuna.samplers.RandomSampler()  # values are not drawn here, see `Search`
    try:
        storage = JournalStorage(JournalFileBackend(str(file)))
        if direction is None:
            return optuna.load_study(study_name=NAME, storage=storage, pruner=pruner, sampler=idle)
        return optuna.create_study(
            study_name=NAME, storage=storage, pruner=pruner, sampler=idle, direction=direction, load_if_exists=True
        )
    except (ValueError, KeyError) as error:  # of JSON, or of a study that is not there
        raise DataError(f"{file} holds no search that can be read ({error}); give another hydra.sweep.dir") from error


def sampler_of(options: SearchOptions, seed: int, number: int) -> Any:
    """The sampler for the trial ``number``: a search that was interrupted draws what it would have drawn."""
    from optuna.samplers import RandomSampler, TPESampler

    own = (seed * 1_000_003 + number) % 2**32
    if options.sampler == "random":
        return RandomSampler(seed=own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant_liar is called experimental
        return TPESampler(seed=own, n_startup_trials=options.startup, constant_liar=True)


def pruner_of(options: SearchOptions) -> Any:
    """The pruner that is asked for."""
    from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner

    if options.pruner == "median":
        return MedianPruner(n_startup_trials=options.startup, n_warmup_steps=options.warmup)
    if options.pruner == "halving":
        return SuccessiveHalvingPruner(min_resource=options.warmup)
    return NopPruner()


def _mend(file: Path) -> None:
    """Take back half a line that a process which was killed has left; the next one would be written behind it."""
    from optuna.storages.journal import JournalFileSymlinkLock

    if not file.exists():
        return
    lock = JournalFileSymlinkLock(str(file))
    lock.acquire()
    try:
        content = file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(file, whole)
    finally:
        lock.release()
