"""The picture and the page of a run, written when it ends, however it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from gcp.errors import first_line
from lightning_modules.run.ranks import is_main_process
from lightning_modules.run.spec import Run
from lightning_modules.run.summary import FAILED, OK, Summary
from lightning_modules.settings.modes import formats_of


@contextmanager
def reported_at_the_end(run: Run, summary: Summary) -> Iterator[None]:
    """Write run.png and report.html of ``run`` at the end of the block, of a run that failed too.

    What cannot be drawn or written is said: it fails no run, whose results are in its summary already.
    """
    try:
        yield
    except Exception as error:
        _write(run, summary, FAILED, str(error) or type(error).__name__)
        raise
    _write(run, summary, OK, None)


def _write(run: Run, summary: Summary, status: str, error: str | None) -> None:
    formats = formats_of(run.config)
    if not (formats and summary.begun and is_main_process()):
        return
    try:
        write_report(run.directory, formats, status, error)
    except Exception as problem:
        print(f"note: no pictures of the run ({type(problem).__name__}: {first_line(problem)})", file=sys.stderr)


def write_report(directory: Path, formats: list[str], status: str, error: str | None) -> None:
    """Of the run in ``directory``, whose summary does not say yet that it has ended, with this ``status``."""
    from lightning_modules.report.run_page import write_run_report
    from lightning_modules.report.runs import read_run

    record = read_run(directory)
    record.summary.update(status=status, error=error, ended=datetime.now().astimezone().isoformat(timespec="seconds"))
    write_run_report(record, formats)
