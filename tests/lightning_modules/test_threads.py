"""OpenMP's threads sleep soon, before torch is loaded, unless the user says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lightning_modules.run.threads import CHOSEN_BY_USER, SPINS, spin_briefly


@pytest.fixture
def no_choice(monkeypatch):
    for name in CHOSEN_BY_USER:
        monkeypatch.setenv(name, "")  # so that the test's own settings are undone too
        monkeypatch.delenv(name)


def test_threads_spin_briefly_by_default(no_choice):
    spin_briefly()
    assert os.environ["GOMP_SPINCOUNT"] == SPINS


@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "active"), ("GOMP_SPINCOUNT", "5")])
def test_the_users_choice_stays(no_choice, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    spin_briefly()
    assert {key: os.environ[key] for key in CHOSEN_BY_USER if key in os.environ} == {name: value}


def test_the_command_says_so_before_torch_is_loaded():
    """The runtime reads its environment once: what is set after torch is loaded changes nothing."""
    program = (
        "import sys, os, run, lightning_modules.run.threads as threads\n"
        "def checked(do=threads.spin_briefly):\n"
        "    assert 'torch' not in sys.modules\n"
        "    do()\n"
        "    print('set', os.environ['GOMP_SPINCOUNT'])\n"
        "run.spin_briefly = checked\n"
        "sys.argv = ['run.py', '--help']\n"
        "run.main()\n"
    )
    environ = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY_USER}
    printed = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert printed.stdout.startswith(f"set {SPINS}\n")
