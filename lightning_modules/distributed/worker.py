"""A further process of a run: reads the run from standard input and does what the main process does, silently.

What it prints at the end, if it fails, is one line: why.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import TextIO

from datamodules.reading import dead_processes_named
from gcp.errors import GCPError
from lightning_modules.run.interruption import SIGNALS, Interrupted
from lightning_modules.run.plugins import import_plugins
from lightning_modules.run.spec import Run
from lightning_modules.run.summary import Summary


def main() -> None:
    """Entry point of ``python -m lightning_modules.distributed.worker``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the main one decides
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints to standard output must not be taken for the report
    fields = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_main_process, daemon=True).start()
    paths = {name: Path(fields[name]) for name in ("directory", "initial") if fields[name] is not None}
    run = Run(**{**fields, **paths})
    try:
        import_plugins(run.config["plugins"])
        with SIGNALS.heard(held=True), dead_processes_named():  # held: the processes ask each other
            import_module(f"lightning_modules.modes.{run.config['mode']}").run(run, Summary(run.directory, write=False))
    except Interrupted:
        pass
    except GCPError as error:
        _end(report, str(error))
    except BaseException as error:
        _end(report, f"{type(error).__name__} on rank {os.environ['RANK']}: {str(error).strip()}")


def _end(report: TextIO, reason: str) -> None:
    print(reason.split("\n")[0], file=report, flush=True)
    os._exit(1)  # nothing to close: without this process the others' operations cannot complete


def _end_with_the_main_process() -> None:
    """Its end of the pipe is closed when it is gone, by SIGKILL too."""
    while os.read(0, 1):  # not sys.stdin, whose lock would be held: forked loading processes close it and would wait
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
