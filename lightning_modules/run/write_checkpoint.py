"""Writing checkpoint files that a crash does not leave half written, and keeping the one before the last."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lightning_modules.run.checkpoint_names import LAST, PREVIOUS
from lightning_modules.run.read_checkpoint import take
from lightning_modules.run.storage import storage_error, whole


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside the file, brings it to the disk, and only then gives it its name; reads it once.

    Lightning's own goes through the folder of temporary files; where that is another disk, moving it is a copy that can
    be cut short. The ``last.ckpt`` there was stays, as ``last.previous.ckpt``. What cannot be written whole is removed,
    or else it would keep a full disk full.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``; a reader sees the old file or the new one, whole.

        Raises StorageError if there is no room for it, or no permission.
        """
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target) as partial:
                with partial.open("wb") as file:
                    torch.save(checkpoint, file)
                    file.flush()
                    os.fsync(file.fileno())
                if target.name == LAST and target.exists():
                    _keep(target, target.with_name(PREVIOUS))
        except Exception as error:
            problem = storage_error(error, target)
            if problem is None:
                raise
            raise problem from error
        _sync(target.parent)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """What is in the file, on the CPU, as `restore` has read it already; runs no code from it."""
        return take(Path(path))


def _keep(file: Path, name: Path) -> None:
    """A second name for ``file``, in place of what had it; the file never lacks its own, if the disk knows links."""
    link = name.with_suffix(".partial")
    link.unlink(missing_ok=True)
    try:
        os.link(file, link)
    except OSError:
        os.replace(file, name)
    else:
        os.replace(link, name)


def _sync(folder: Path) -> None:
    """Bring the names to the disk, where the system can do that for a folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
