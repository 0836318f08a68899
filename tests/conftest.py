"""What all tests share: no network, no real working directory, and the command line called in this process."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.hydra import Hydra

if "PYTEST_XDIST_WORKER" in os.environ:  # a core each, also for the processes that tests start
    os.environ["OMP_NUM_THREADS"] = "1"

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a shell; what tests start would ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)

from datamodules.datasets import DATASETS
from gcp.backbones.registry import BACKBONES
from gcp.methods import METHODS
from lightning_modules.run.threads import spin_briefly
from lightning_modules.settings.callbacks import CALLBACKS

spin_briefly()  # before a test loads torch

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ("localhost", "127.0.0.1", "::1", "")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to anywhere but this machine fail; children are told through the proxy variables."""
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
            raise OSError(f"a test tried to reach {address}")
        return connect(self, address)

    def guarded_resolve(host: Any, *rest: Any, **more: Any) -> Any:
        if host is not None and host not in LOCAL:
            raise socket.gaierror(f"a test tried to look up {host}")
        return resolve(host, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test first, so that no core waits for it at the end."""
    items.sort(key=lambda item: "test_the_commands_run" not in item.nodeid)
    freeze_memory()


@cache
def freeze_memory(imported: str = "torch") -> None:
    """Collections of garbage pass over what stays to the end, once for each stage of imports: a million objects."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Outcome:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """``cli("method=pade", ...)`` is ``python run.py method=pade ...`` in an empty folder, but in this process."""
    import run

    compose = Hydra.get_mode

    def get_mode(hydra: Hydra, config_name: str | None, overrides: list[str]) -> Any:
        """Hydra's own composes the whole configuration once more, to read what few arguments set."""
        sets_it = any(each.startswith(("sweep=", "hydra.mode", "hydra.searchpath", "--config")) for each in sys.argv)
        return compose(hydra, config_name, overrides) if sets_it else None

    monkeypatch.setattr(Hydra, "get_mode", get_mode)
    for registry in (METHODS, BACKBONES, DATASETS, CALLBACKS):  # what plugins add is gone with the test
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", [str(ROOT / "run.py"), *arguments])
        monkeypatch.setattr(sys, "path", list(sys.path))
        os.environ["HYDRA_FULL_ERROR"] = "0"
        code: Any = 0
        try:
            run.main()
        except SystemExit as stop:
            code = stop.code
            if isinstance(code, str):
                print(code, file=sys.stderr)
                code = 1
        if "pytorch_lightning" in sys.modules:
            freeze_memory("pytorch_lightning")
        out, err = capfd.readouterr()
        return Outcome(code or 0, out, err)

    return call


@pytest.fixture
def summary_of() -> Callable[[Path], dict[str, Any]]:
    """Read the summary of a run directory."""
    return lambda directory: json.loads((Path(directory) / "summary.json").read_text())
