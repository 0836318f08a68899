"""Runs of the command line in forks of a process that has imported everything: ``python -m tests.kills.server``.

One request a line, JSON: ``arguments``, ``folder``, ``log``, and ``trap`` or null; the answer is the exit code,
negative for a signal. Nothing is computed before a fork, so that no thread is lost in it.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from functools import partial
from typing import Any

import run
from lightning_modules.distributed import processes, worker
from lightning_modules.modes import fit  # noqa: F401  # imported for the forks
from tests.kills.traps import set_trap


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _leave(partial(_run, request))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(request: dict[str, Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored in what it runs behind
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(request["folder"])
    processes.subprocess.Popen = ForkedWorker  # type: ignore[assignment,misc]
    if request["trap"] is not None:
        set_trap(*request["trap"])
    sys.argv = ["run.py", *request["arguments"]]
    run.main()


def _leave(work: Any) -> None:
    """Do the work and end this process, as the interpreter does, without returning into the server."""
    code: Any = 1
    try:
        work()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class ForkedWorker:
    """Stands in for the ``subprocess.Popen`` of a further process of a run, which imports for ten seconds."""

    def __init__(self, command: list[str], env: dict[str, str], **options: Any) -> None:
        assert command[-1] == "lightning_modules.distributed.worker"
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self.pid = os.fork()
        self.returncode: int | None = None
        self.lock = threading.Lock()
        if not self.pid:
            os.close(ours_in)
            os.close(ours_out)
            os.dup2(theirs_in, 0)
            os.dup2(theirs_out, 1)
            os.close(theirs_out)
            os.environ.clear()
            os.environ.update(env)
            sys.stdin = io.TextIOWrapper(os.fdopen(0, "rb"))
            _leave(worker.main)
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin, self.stdout = os.fdopen(ours_out, "w"), os.fdopen(ours_in)

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int | None:
        deadline = time.monotonic() + (timeout or 1e9)
        while self._wait(os.WNOHANG) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout or 0)
            time.sleep(0.02)
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, 9)

    def _wait(self, options: int) -> int | None:
        with self.lock:  # two threads ask
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, options)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode


if __name__ == "__main__":
    main()
