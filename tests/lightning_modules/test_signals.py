"""Signals: when they act, when they wait, and that none is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import import_module

import pytest
import torch
from torch.utils.data import Dataset

from datamodules.loader import ImageLoader, process_options
from datamodules.signals import shielded
from lightning_modules.run.interruption import TOO_EARLY, Interrupted, Signals
from lightning_modules.run.job import as_interruption
from tests.conftest import ROOT


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_acts_at_once_unless_it_is_held_back(signum):
    before = signal.getsignal(signum)
    signals = Signals()
    with pytest.raises(Interrupted) as stop, signals.heard():
        send(signum)
    assert (stop.value.signum, stop.value.orderly) == (signum, False)
    with signals.heard():
        signals.hold()
        send(signum)
        assert signals.received == signum
        with pytest.raises(Interrupted):
            signals.release()
    assert signal.getsignal(signum) == before


def test_a_second_ctrl_c_does_not_wait_and_a_second_sigterm_does():
    signals = Signals()
    with signals.heard():
        signals.hold()
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        with pytest.raises(Interrupted) as stop:
            send(signal.SIGINT)
    assert stop.value.signum == signal.SIGTERM


def test_nothing_disturbs_the_winding_up():
    signals = Signals()
    with signals.heard():
        with pytest.raises(Interrupted):
            send(signal.SIGINT)
        send(signal.SIGINT)
        send(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_in_a_destructor_is_not_lost():
    class Deaf:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    signals = Signals()
    with signals.heard():
        Deaf()  # Python ignores what is raised there
        with pytest.raises(Interrupted):
            signals.check()


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Signals().heard():
            send(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_block_within_another_is_ended_by_what_came_before_it_and_leaves_nothing_behind():
    class Deaf:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    signals = Signals()
    with signals.heard():
        Deaf()
        with pytest.raises(Interrupted), signals.heard():
            pytest.fail("it began")
    with signals.heard():
        with signals.heard():
            pass
        with pytest.raises(Interrupted) as stop:
            send(signal.SIGINT)
    assert stop.value.signum == signal.SIGINT


def _break_on_the_way_out() -> None:
    try:
        raise Interrupted(signal.SIGTERM)
    finally:
        None.gone  # noqa: B018


def test_an_interruption_is_told_from_what_it_broke_on_the_way_out():
    with pytest.raises(AttributeError) as broken:
        _break_on_the_way_out()
    for error, code in ((broken.value, 143), (KeyboardInterrupt(), 130), (Interrupted(signal.SIGINT), 130)):
        stop = as_interruption(error)
        assert stop is not None
        assert (str(stop), stop.exit_code) == (TOO_EARLY, code)
    assert as_interruption(ValueError()) is None


DEAF_IMPORT = """
import os, signal
class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
Deaf()
"""


STARTS = {  # run.py, and the installed command
    "run.py": f"import runpy; runpy.run_path({str(ROOT / 'run.py')!r}, run_name='__main__')",
    "gcp-run": "from run import main; main()",
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_modules_are_imported(tmp_path, start, name, code):
    """It comes from a destructor in the first import of a package, where an error would be lost."""
    (tmp_path / "hydra.py").write_text(DEAF_IMPORT.format(name=name))
    script = f"import sys; sys.argv = ['bin/{start}']; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; "
    command = [sys.executable, "-c", script + STARTS[start]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, f"error: {TOO_EARLY}\n")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_the_run_begins(cli, tmp_path, monkeypatch, signum, code):
    """While the configuration is composed; one rule for both signals."""
    monkeypatch.setattr(import_module("run"), "register", lambda: send(signum))
    outcome = cli("hydra.run.dir=run")
    assert (outcome.code, outcome.err) == (code, f"error: {TOO_EARLY}\n")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_between_the_jobs_of_a_sweep(cli, tmp_path, monkeypatch, signum, code):
    sweeper = import_module("conf.sweeper")
    monkeypatch.setattr(sweeper, "launch", lambda *_: send(signum))
    monkeypatch.setattr(sweeper.ResumableSweeper, "_report", lambda *_: None)
    outcome = cli("-m", "seed=0,1", "hydra.sweep.dir=sweep")
    assert outcome.code == code
    again = f"go on with the same command, hydra.sweep.dir={tmp_path / 'sweep'} and sweep.resume=true"
    assert outcome.err == f"error: the sweep was interrupted; {again}\n"


class Numbers(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, position: int) -> torch.Tensor:
        return torch.tensor([position, os.getpid()])


def test_loading_processes_outlive_signals_to_the_group_and_end_with_the_loader():
    loader = ImageLoader(Numbers(), 1, multiprocessing_context="fork", **process_options(2))
    batches = iter(loader)
    first = next(batches)
    workers = {int(first[0, 1]), int(next(batches)[0, 1])}
    assert len(workers) == 2
    for worker in workers:
        for signum in (signal.SIGTERM, signal.SIGINT):  # from elsewhere, as from a terminal
            sender = os.posix_spawn("/bin/sh", ["sh", "-c", f"kill -{int(signum)} {worker}"], os.environ)
            os.waitpid(sender, 0)
    assert [int(batch[0, 0]) for batch in batches] == list(range(2, 8))
    with shielded():  # as the loader starts its own
        stuck = ImageLoader(Numbers(), 1, multiprocessing_context="fork", **process_options(1))._get_iterator()
    (process,) = stuck._workers
    process.terminate()  # what torch does with one that does not end by itself
    for _ in range(200):
        if not process.is_alive():
            break
        time.sleep(0.05)
    assert process.exitcode is not None
