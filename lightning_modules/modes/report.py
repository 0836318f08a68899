"""``mode=report``: compare the runs in a folder."""

from __future__ import annotations

from pathlib import Path

from lightning_modules.report.runs import read_runs
from lightning_modules.report.writing import write_report
from lightning_modules.run.spec import Run
from lightning_modules.run.summary import Summary
from lightning_modules.settings.modes import formats_of


def run(run: Run, summary: Summary) -> None:
    """Report on the runs in ``path`` and below, into the run directory. Raises DataError if there is none."""
    found = read_runs(Path(path) for path in run.config["path"].split(","))
    summary.begin()
    rows = write_report(found, run.directory, formats_of(run.config))
    summary.update(**{"report/rows": len(rows), "report/runs": sum(len(row.runs) for row in rows)})
