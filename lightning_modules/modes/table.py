"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from lightning_modules import metric_names as names
from lightning_modules.run.spec import Run
from lightning_modules.run.summary import Summary


def show(run: Run, summary: Summary) -> None:
    """Print method, data, results and time of training and testing."""
    fields = summary.fields
    rows = {
        "method": _methods(run, fields.get(names.SWITCH_EPOCH)),
        "parameters": _parameters(fields),
        "epochs": _format(fields["epochs"], "d"),
        "stopped early": fields.get(names.STOPPED_REASON),
        "best epoch": _format(fields.get(names.BEST_EPOCH), "d"),
        "validation accuracy": _both(fields, names.VAL_ACCURACY, names.FINAL_VAL_ACCURACY),
        "test accuracy": _both(fields, names.TEST_ACCURACY, names.FINAL_TEST_ACCURACY),
        "test accuracy, top 5": _format(fields[names.TEST_ACCURACY_5], ".2%"),
        "test loss": _format(fields[names.TEST_LOSS], ".4f"),
        "training time": _format(fields["train_seconds"], ".1f", " s"),
        "images per second": _format(fields["images_per_second"], ".0f"),
    }
    show_rows(run, rows)


def show_rows(run: Run, rows: Mapping[str, str | None]) -> None:
    """Print method, backbone and data, the ``rows`` that have a value, and where the files are."""
    table = Table(title=run.name, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    known = {"method": run.method, "backbone": run.backbone, "data": run.dataset}
    for name, value in {**known, **rows}.items():
        if value is not None:
            table.add_row(name, value)
    console = Console()
    console.print(table, highlight=False)
    console.print(f"files                 {run.directory}", highlight=False, soft_wrap=True)  # a path to copy: one line


def _parameters(fields: Mapping[str, Any]) -> str:
    return f"{fields['params']:,d}, of them {fields['params_trainable']:,d} trainable"


def _methods(run: Run, switched: int | None) -> str:
    second = run.config.get("switch", {}).get("to")
    return run.method if second is None or switched is None else f"{run.method}, {second} from epoch {switched}"


def _both(fields: Mapping[str, Any], best: str, final: str) -> str | None:
    """Best and final accuracy, the latter where it is known."""
    text, last = _format(fields[best], ".2%"), _format(fields.get(final), ".2%")
    return text if text is None or last is None else f"{text}, after the last epoch {last}"


def _format(value: float | None, pattern: str, unit: str = "") -> str | None:
    return None if value is None else f"{value:{pattern}}{unit}"
