"""The further processes of a run on several devices start processes that load images."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

FORKS = """
import multiprocessing, os, threading, time
from lightning_modules.distributed.worker import _end_with_the_main_process

threading.Thread(target=_end_with_the_main_process, daemon=True).start()
time.sleep(0.3)  # until it waits for the main process
child = multiprocessing.get_context("fork").Process(target=int)
child.start()
child.join(30)
state = child.exitcode
if state is None:
    child.kill()
os._exit(0 if state == 0 else 3)
"""


def test_a_forked_process_does_not_wait_for_the_end_of_the_main_process():
    worker = subprocess.Popen([sys.executable, "-c", FORKS], cwd=ROOT, stdin=subprocess.PIPE)
    try:
        assert worker.wait(60) == 0
    finally:
        worker.kill()


def test_it_ends_with_the_main_process():
    code = "from lightning_modules.distributed.worker import _end_with_the_main_process as wait; wait()"
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE)
    worker.stdin.close()
    assert worker.wait(60) == 1
