"""Signals: when they act, when they wait, and that none is lost."""

from __future__ import annotations

import os
import signal
import time

import pytest
import torch
from torch.utils.data import Dataset

from datamodules.loader import ImageLoader, process_options
from datamodules.signals import shielded
from lightning_modules.run.interruption import Interrupted, Signals, from_ctrl_c


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


def _break_on_the_way_out() -> None:
    try:
        raise KeyboardInterrupt
    finally:
        None.gone  # noqa: B018


def test_ctrl_c_is_told_from_what_it_broke_on_the_way_out():
    with pytest.raises(AttributeError) as broken:
        _break_on_the_way_out()
    assert from_ctrl_c(broken.value)
    assert from_ctrl_c(KeyboardInterrupt())
    assert not from_ctrl_c(ValueError())


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
