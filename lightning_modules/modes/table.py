"""The table at the end of a run."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from lightning_modules.run import Run
from lightning_modules.summary import Summary


def show(run: Run, summary: Summary) -> None:
    """Print method, data, results, time and where the files are."""
    fields = summary.fields
    table = Table(title=run.name, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    rows = {
        "method": run.method,
        "backbone": run.backbone,
        "data": run.dataset,
        "parameters": _format(fields["params"], ",d"),
        "epochs": _format(fields["epochs"], "d"),
        "validation accuracy": _format(fields["val/acc1"], ".2%"),
        "test accuracy": _format(fields["test/acc1"], ".2%"),
        "test accuracy, top 5": _format(fields["test/acc5"], ".2%"),
        "test loss": _format(fields["test/loss"], ".4f"),
        "training time": _format(fields["train_seconds"], ".1f", " s"),
        "images per second": _format(fields["images_per_second"], ".0f"),
    }
    for name, value in rows.items():
        if value is not None:
            table.add_row(name, value)
    console = Console()
    console.print(table, highlight=False)
    console.print(f"files                 {run.directory}", highlight=False, soft_wrap=True)  # a path to copy: one line


def _format(value: float | None, pattern: str, unit: str = "") -> str | None:
    return None if value is None else f"{value:{pattern}}{unit}"
