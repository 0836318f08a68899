"""metrics.csv in the run directory."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment

from lightning_modules.epochs import CountedFromOne
from lightning_modules.metrics_file import FIRST_ROW, STEP, Row, read_rows
from lightning_modules.run.spec import Run
from lightning_modules.run.storage import storage_error, write_whole
from lightning_modules.settings.loggers import CSVOptions

DAMAGED = "metrics.damaged.csv"


def build(run: Run, options: CSVOptions) -> MetricsCSV:
    """The logger every run has."""
    return MetricsCSV(run.directory, run.steps_done, run.rows_done)


class MetricsCSV(CountedFromOne, CSVLogger):
    """Lightning's CSVLogger writing ``directory/metrics.csv``, which keeps the rows of a run that is resumed.

    Args:
        directory: the run directory.
        steps_done: rows of later steps belong to work that will be done again, and go; None: all rows stay.
        rows_done: the rows beyond so many go too, where steps do not tell: validation may be done again.
    """

    def __init__(self, directory: Path, steps_done: int | None = 0, rows_done: int | None = None) -> None:
        super().__init__(directory, name="", version="", flush_logs_every_n_steps=50)
        self.steps_done = steps_done
        self.rows_done = rows_done

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer, made when it is first needed."""
        if self._experiment is None:
            self._experiment = _ContinuingWriter(Path(self.log_dir), self.steps_done, self.rows_done)
        return self._experiment

    def after_save_checkpoint(self, checkpoint_callback: Checkpoint) -> None:
        """Write the rows up to here: a run that is killed goes on from the checkpoint, and must not lack them."""
        self.save()

    def written_rows(self) -> int:
        """Write the rows up to here; gives their number."""
        writer = self.experiment
        assert isinstance(writer, _ContinuingWriter)
        return writer.written_rows()


class _ContinuingWriter(ExperimentWriter):
    """Adds whole lines to those of the steps done; touches the file no sooner than there is one to add."""

    def __init__(self, directory: Path, steps_done: int | None, rows_done: int | None = None) -> None:
        self.path = directory / self.NAME_METRICS_FILE
        self.steps_done = steps_done
        self.rows_done = rows_done
        self.continued = False
        super().__init__(log_dir=str(directory))

    def save(self) -> None:
        """Write what was recorded; a line that a full disk cuts short is taken back. Raises StorageError."""
        if self.metrics:
            with self._sentences():
                self._continue()
                self._add()
            self.metrics = []

    def written_rows(self) -> int:
        """Write what was recorded; gives the number of rows in the file. Raises StorageError."""
        self.save()
        with self._sentences():
            self._continue()
            return self.path.read_bytes().count(b"\n") - 1 if self.path.exists() else 0

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            problem = storage_error(error, self.path)
            if problem is None:
                raise
            raise problem from error

    def _check_log_dir_exists(self) -> None:
        """Nothing: Lightning's own deletes the file."""

    def _continue(self) -> None:
        """Leave the rows of the steps done in the file, the first time."""
        if self.continued or not self.path.exists():
            self.continued = True
            return
        self.continued = True
        content = self.path.read_bytes()
        try:
            names, found = read_rows(io.BytesIO(content))
        except ValueError:
            os.replace(self.path, self.path.with_name(DAMAGED))
            print(f"{self.path} is damaged from its first line on; it is kept as {DAMAGED}", file=sys.stderr)
            return
        rows = dict(found)
        damaged = [line for line, row in rows.items() if row is None]
        if damaged:
            print(f"left out of {self.path}, damaged: line {', '.join(map(str, damaged))}", file=sys.stderr)
        kept = [row for line, row in rows.items() if row is not None and self._stays(line, row)]
        if not kept:
            self.path.unlink()
            return
        self.metrics_keys = names
        text = _lines(names, kept, header=True)
        if text.encode() != content:
            write_whole(self.path, text)

    def _stays(self, line: int, row: Row) -> bool:
        if self.rows_done is not None and line - FIRST_ROW >= self.rows_done:
            return False
        return self.steps_done is None or int(row[STEP]) < self.steps_done  # also where a damaged line was taken out

    def _add(self) -> None:
        new_names = self._record_new_keys()
        exists = self.path.exists()
        if new_names and exists:
            _, found = read_rows(io.BytesIO(self.path.read_bytes()))
            rows = [row for _, row in found if row is not None]
            write_whole(self.path, _lines(self.metrics_keys, rows, header=True))
        rest = _lines(self.metrics_keys, self.metrics, header=not exists).encode()
        with self.path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                os.truncate(self.path, before)
                raise


def _lines(names: list[str], rows: Iterable[Mapping[str, Any]], header: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=names)
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
