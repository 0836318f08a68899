"""Finding the checkpoint a run starts from: what ``ckpt_path`` means, and where a run goes on. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gcp.errors import CheckpointError
from gcp.hub.files import WEIGHTS, is_network_folder
from lightning_modules.run.checkpoint_names import BEST, FIRST, FOLDER, LAST, PREVIOUS


def find(path: str, directory: Path, directory_given: bool, roots: Sequence[Path], prefer_best: bool) -> Path:
    """The checkpoint a ``ckpt_path`` means.

    Args:
        path: a checkpoint; a run directory; a network's folder; or "last", the newest one.
        directory: the present run's directory.
        directory_given: whether the user named it: "last" then looks there alone.
        roots: the folders of all runs, where "last" looks otherwise.
        prefer_best: in a run directory take ``best.ckpt`` rather than ``last.ckpt``.

    Raises:
        CheckpointError: nothing there; says where it looked.
    """
    if path == "last":
        return _last([directory] if directory_given else roots)
    chosen = Path(path)
    if chosen.is_dir():
        best = _first(chosen, BEST)
        file = (best or last_in(chosen)) if prefer_best else (to_resume(chosen) or best)
        if file is None and is_network_folder(chosen):
            return chosen / WEIGHTS
        if file is None:
            name = BEST if prefer_best else LAST
            raise CheckpointError(f"the run directory {chosen} holds no {FOLDER}/{name}; give another ckpt_path")
        return file
    if not chosen.exists():
        raise CheckpointError(f"no checkpoint at {chosen}; give a .ckpt file, a run directory, or last")
    return chosen


def _last(roots: Sequence[Path]) -> Path:
    """The newest checkpoint to go on from in the run directories that the ``roots`` are, or that are below them."""
    for root in roots:
        own = to_resume(root)
        if own is not None:
            return own
    files = [file for root in roots for name in (LAST, PREVIOUS) for file in root.glob(f"**/{FOLDER}/{name}")]
    if not files:
        raise CheckpointError(
            f"ckpt_path=last found no {FOLDER}/{LAST} under {' or '.join(map(str, roots))}; give the path of one, or "
            "start again without ckpt_path"
        )
    newest = max(files, key=lambda file: (file.stat().st_mtime, file.name == LAST)).parent.parent
    found = to_resume(newest.parent if newest.name == FIRST else newest)
    assert found is not None
    return found


def to_resume(directory: Path) -> Path | None:
    """The checkpoint a run goes on from in its directory; None: there is none.

    ``last.ckpt``, or the one before it where that alone is left; of the second stage if that has begun.
    """
    return last_in(directory) or last_in(directory / FIRST)


def last_in(directory: Path) -> Path | None:
    """The same, of a run of one stage, or of one of the stages."""
    return _first(directory, LAST, PREVIOUS)


def _first(directory: Path, *names: str) -> Path | None:
    """The first of the checkpoints with these ``names`` that a run directory has."""
    paths = (directory / FOLDER / name for name in names)
    return next((path for path in paths if path.exists()), None)
