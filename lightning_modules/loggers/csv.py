"""metrics.csv in the run directory."""

from __future__ import annotations

import csv
from pathlib import Path

from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment

from lightning_modules.epochs import CountedFromOne
from lightning_modules.run import Run
from lightning_modules.settings.loggers import CSVOptions


def build(run: Run, options: CSVOptions) -> MetricsCSV:
    """The logger every run has."""
    return MetricsCSV(run.directory, run.steps_done, run.rows_done)


class MetricsCSV(CountedFromOne, CSVLogger):
    """Lightning's CSVLogger writing ``directory/metrics.csv``, which keeps the rows of a run that is resumed.

    Args:
        directory: the run directory.
        steps_done: rows of later steps belong to work that will be done again, and go; none: all rows stay.
        rows_done: the rows beyond so many go instead, where steps do not tell: validation may be done again too.
    """

    def __init__(self, directory: Path, steps_done: int | None = 0, rows_done: int | None = None) -> None:
        super().__init__(directory, name="", version="", flush_logs_every_n_steps=50)
        self.steps_done = steps_done
        self.rows_done = rows_done

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer, made when it is first needed."""
        if self._experiment is None:
            self._experiment = _ContinuingWriter(Path(self.log_dir), self.steps_done, self.rows_done)
        return self._experiment

    def after_save_checkpoint(self, checkpoint_callback: Checkpoint) -> None:
        """Write the rows up to here: a run that is killed goes on from the checkpoint, and must not lack them."""
        self.save()

    def written_rows(self) -> int:
        """Write the rows up to here; gives their number."""
        self.save()
        path = Path(self.log_dir) / ExperimentWriter.NAME_METRICS_FILE
        if not path.exists():
            return 0
        with path.open(newline="") as file:
            return sum(1 for _ in csv.DictReader(file))


class _ContinuingWriter(ExperimentWriter):
    def __init__(self, directory: Path, steps_done: int | None, rows_done: int | None) -> None:
        self.steps_done = steps_done
        self.rows_done = rows_done
        super().__init__(log_dir=str(directory))
        path = Path(self.metrics_file_path)
        if path.exists():
            with path.open(newline="") as file:
                self.metrics_keys = list(csv.DictReader(file).fieldnames or [])

    def _check_log_dir_exists(self) -> None:
        """Keep the rows of the steps done; Lightning's own deletes the file."""
        path = Path(self.metrics_file_path)
        if not path.exists():
            return
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = [row for index, row in enumerate(reader) if self._stays(index, row)]
        path.unlink()
        if rows:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=reader.fieldnames or [])
                writer.writeheader()
                writer.writerows(rows)

    def _stays(self, index: int, row: dict[str, str]) -> bool:
        if self.rows_done is not None:
            return index < self.rows_done
        return self.steps_done is None or int(row["step"]) < self.steps_done
