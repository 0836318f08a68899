"""One file added, and its YAML written, is a method added: every test that goes through the registry passes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

METHOD = '''"""A method of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcp.methods.table import register_method
from gcp.options import option
from gcp.spectral.spectral_options import SpectralOptions

if TYPE_CHECKING:
    from torch import Tensor

    from gcp.spectral.loewner import Spectrum


@dataclass(frozen=True)
class MineOptions(SpectralOptions):
    """Options of `mine`."""

    strength: int = option(3, "an option of its own", minimum=1)


def mine(spectrum: Spectrum, options: MineOptions) -> Tensor:
    """L = f[lam_i, lam_j], the exact one."""
    return spectrum.with_limits(spectrum.divided_differences())


register_method("mine", options=MineOptions, kernel=mine, summary="a method of one's own", source="this test")
'''


@pytest.mark.slow
def test_an_added_method_passes_what_holds_for_all(tmp_path):
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for file in filter(None, files):
        if (ROOT / file).is_file():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    (tmp_path / "gcp/methods/mine.py").write_text(METHOD)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    written = run("conf.writing")
    assert written.returncode == 0, written.stderr
    assert (tmp_path / "conf/method/mine.yaml").exists()
    done = run("pytest", "-n", "0", "-q", "-p", "no:cacheprovider", "-k", "mine", "tests")
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
