"""MLflow, beside metrics.csv: a file of SQLite, or a server, never in the way."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock
from pytorch_lightning.loggers import Logger, MLFlowLogger
from pytorch_lightning.loggers.logger import DummyLogger

from gcp.errors import MissingDependencyError, OptionError, first_line
from lightning_modules.epochs import CountedFromOne
from lightning_modules.run.job import AT_END
from lightning_modules.run.ranks import is_main_process
from lightning_modules.run.spec import Run
from lightning_modules.settings.loggers import MLflowOptions

ID = "mlflow.id"  # file of a run directory: the run of MLflow that training writes into, also after it was resumed
NEEDED = ("mlflow", "sqlalchemy", "alembic")
FILE = "sqlite:///"
# MLflow's own settings, where they are not set: nothing is told to its makers, and no server is waited for long.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
STATUS = {0: "FINISHED", 130: "KILLED", 143: "KILLED"}  # by exit code; others: FAILED


class Metrics(CountedFromOne, MLFlowLogger):
    """Lightning's logger, with epochs counted from 1, whose store may go away: metrics.csv has everything."""

    lost = False

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write ``metrics``; the first time that fails, it is said."""
        from mlflow.exceptions import MlflowException

        try:
            super().log_metrics(metrics, step)
        except MlflowException as error:
            if not self.lost:
                print(f"MLflow takes no metrics ({first_line(error)}); metrics.csv has them all", file=sys.stderr)
            self.lost = True

    def finalize(self, status: str = "success") -> None:
        """Nothing: the run is closed when the job ends, after its test."""

    def close(self, exit_code: int) -> None:
        """End the run of MLflow with the job."""
        from mlflow.exceptions import MlflowException

        try:
            self.experiment.set_terminated(self.run_id, STATUS.get(exit_code, "FAILED"))
        except MlflowException as error:
            print(f"MLflow was not told the end of the run ({first_line(error)})", file=sys.stderr)


def build(run: Run, options: MLflowOptions) -> Logger:
    """A logger on a run of MLflow that is started here, with the resolved configuration as its parameters.

    Training that is resumed in its own directory goes on in its run of MLflow.

    Raises:
        MissingDependencyError: mlflow is not installed.
        OptionError: the store does not take the run.
    """
    if any(find_spec(name) is None for name in NEEDED):
        raise MissingDependencyError("logger=mlflow needs mlflow; install it: pip install '.[mlflow]'")
    if not is_main_process():
        return DummyLogger()
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic", "pytorch_lightning.loggers.mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)  # they tell how a new store is made, table by table
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with _alone(options.chosen_store):
            return _started(run, options)
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        raise OptionError(
            f"MLflow's store {options.chosen_store} does not take the run: {first_line(error)}; mend logger.store"
        ) from error


def _started(run: Run, options: MLflowOptions) -> Metrics:
    trained = run.config.get("mode", "fit") == "fit"
    noted = run.directory / ID
    goes_on = trained and bool(run.config.get("ckpt_path")) and not run.published and noted.exists()
    tags = {"method": run.method, "backbone": run.backbone, "dataset": run.dataset, "seed": str(run.seed)}
    tags |= {"sweep": run.sweep} if run.sweep else {}
    logger = Metrics(
        experiment_name=options.chosen_experiment,
        run_name=options.run_name or run.name,
        tracking_uri=options.chosen_store,
        tags={**tags, "mode": str(run.config.get("mode", "fit"))},
        run_id=noted.read_text().strip() if goes_on else None,
    )
    if logger.run_id is not None and trained:
        run.directory.mkdir(parents=True, exist_ok=True)
        noted.write_text(f"{logger.run_id}\n")
    if goes_on:
        logger.experiment.update_run(logger.run_id, status="RUNNING")
    else:
        logger.log_hyperparams(run.config)  # parameters are for ever: a run that goes on keeps those it had
    AT_END.append(logger.close)
    return logger


@contextmanager
def _alone(store: str) -> Iterator[None]:
    """One process at a time makes the tables of a file."""
    if not store.startswith(FILE):
        yield
        return
    file = Path(store.removeprefix(FILE))
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f"{file.name}.lock")):
        yield
