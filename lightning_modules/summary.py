"""summary.json: what a run was, how it went, and what came of it."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

FILE = "summary.json"
RUNNING, OK, FAILED, INTERRUPTED = "running", "ok", "failed", "interrupted"


class Summary:
    """The summary of a run, on disk from the first moment: ``running``, then ``ok``, or ``failed`` or ``interrupted``
    with a sentence.

    A run that is killed stays ``running``.

    Args:
        directory: the run directory; made if it does not exist.
        write: false in all processes of a run but the main one.
        facts: what is known at the start: method, backbone, dataset, seed.
    """

    def __init__(self, directory: Path, write: bool = True, **facts: Any) -> None:
        self.path = directory / FILE
        self.write = write
        earlier = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.fields: dict[str, Any] = {
            "params": None,
            "params_trainable": None,
            "epochs": None,
            "train_seconds": None,
            "images_per_second": None,
            "val/acc1": None,
            "test/acc1": None,
            "test/acc5": None,
            "test/loss": None,
            **earlier,  # a run that goes on in its own directory, or is tested there, keeps what it knew
            **facts,
            "status": RUNNING,
            "error": None,
            "started": _now(),
            "ended": None,
        }
        self._write()

    def update(self, **fields: Any) -> None:
        """Add what has become known; names with a slash through ``**{...}``."""
        self.fields.update(fields)
        self._write()

    def ok(self) -> None:
        """The run ended well."""
        self.update(status=OK, ended=_now())

    def failed(self, error: BaseException | str) -> None:
        """The run ended with an error."""
        text = str(error) or type(error).__name__
        self.update(status=FAILED, error=text, ended=_now())

    def interrupted(self, sentence: str) -> None:
        """The run was stopped from outside."""
        self.update(status=INTERRUPTED, error=sentence, ended=_now())

    def _write(self) -> None:
        if not self.write:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".tmp")
        partial.write_text(json.dumps(self.fields, indent=2) + "\n")
        os.replace(partial, self.path)  # a reader never sees half a file


def read_summary(directory: Path) -> dict[str, Any]:
    """The summary in a run directory; empty if there is none."""
    try:
        summary: dict[str, Any] = json.loads((directory / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return summary


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
