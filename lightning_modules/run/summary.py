"""summary.json: what a run was, how it went, and what came of it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning_modules.metric_names import TEST_ACCURACY, TEST_ACCURACY_5, TEST_LOSS, VAL_ACCURACY
from lightning_modules.run.checkpoint_names import FOLDER
from lightning_modules.run.scheduler import job_id, restarted
from lightning_modules.run.storage import write_whole

FILE = "summary.json"
CONFIG = "config.yaml"  # resolved
METRICS = "metrics.csv"
CONFUSION = "confusion_matrix.csv"
SWEEP = "multirun.yaml"  # of a sweep's directory: its configuration
ASKED = ".hydra/overrides.yaml"  # the arguments of the command
SCHEDULED = "scheduler_job"  # field of the summary: number of the scheduler's job; absent where there is none
RUNNING, OK, FAILED, INTERRUPTED = "running", "ok", "failed", "interrupted"


class Summary:
    """What a run directory says of its run: ``summary.json``, and what is noted beside it.

    Nothing is written before work begins, so that a command that is refused leaves nothing behind and a run that was
    there as it was. From then on the status is ``running``, then ``ok``, or ``failed`` or ``interrupted`` with a
    sentence; a run that is killed stays ``running``.

    Attributes:
        again: whether this is a scheduler's job that runs again, and the directory holds what it began the time before.

    Args:
        directory: the run directory; made if it does not exist.
        write: false in all processes of a run but the main one.
        outer: summary of the run this one is a stage of, which begins with it.
        known: what is known at the start: method, backbone, dataset, seed.
    """

    def __init__(self, directory: Path, write: bool = True, outer: Summary | None = None, **known: Any) -> None:
        self.path = directory / FILE
        self.write = write
        self.outer = outer
        self.begun = False
        self.notes: dict[Path, str] = {}
        earlier = read_summary(directory)
        self.again = restarted() and earlier.get(SCHEDULED) == job_id()
        self.fields: dict[str, Any] = {
            "params": None,
            "params_trainable": None,
            "epochs": None,
            "train_seconds": None,
            "images_per_second": None,
            **dict.fromkeys((VAL_ACCURACY, TEST_ACCURACY, TEST_ACCURACY_5, TEST_LOSS)),
            **earlier,  # a run that goes on here, or is tested here, keeps what it knew
            **known,
            "status": RUNNING,
            "error": None,
            "started": _now(),
            "ended": None,
        }
        self.fields.pop(SCHEDULED, None)
        if (job := job_id()) is not None:
            self.fields[SCHEDULED] = job

    def begin(self) -> None:
        """Nothing speaks against the run any more: from here on its directory tells of it, and is named."""
        if self.outer is not None:
            self.outer.begin()
        elif self.write and not self.begun:
            print(f"run directory {self.path.parent}", flush=True)  # where to look while it goes on
        self.begun = True
        self._write()

    def note(self, name: str, text: str) -> None:
        """A file beside the summary, once work begins."""
        self.notes[self.path.parent / name] = text
        if self.begun:
            self._write()

    def update(self, **fields: Any) -> None:
        """Add what has become known; names with a slash through ``**{...}``."""
        self.fields.update(fields)
        if self.begun:
            self._write()

    def ok(self) -> None:
        """The run ended well."""
        self.fields.update(status=OK, ended=_now())
        self.begin()

    def failed(self, error: BaseException | str) -> None:
        """The run ended with an error."""
        text = str(error) or type(error).__name__
        self.fields.update(status=FAILED, error=text, ended=_now())
        self.begin()

    def interrupted(self, sentence: str) -> None:
        """The run was stopped from outside."""
        self.fields.update(status=INTERRUPTED, error=sentence, ended=_now())
        self.begin()

    def _write(self) -> None:
        if not self.write:
            return
        texts = {self.path: json.dumps(self.fields, indent=2) + "\n", **self.notes}
        self.notes = {}
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)


def read_summary(directory: Path) -> dict[str, Any]:
    """The summary in a run directory; empty if there is none."""
    try:
        summary: dict[str, Any] = json.loads((directory / FILE).read_text())
    except (OSError, ValueError):
        return {}
    return summary


def holds_run(directory: Path) -> bool:
    """Whether a run has begun in ``directory``."""
    return any((directory / name).exists() for name in (FILE, METRICS, FOLDER))


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
