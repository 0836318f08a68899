"""The README's three steps for a method of one's own leave every test that goes through the registry passing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

KERNEL = '''"""A kernel of one's own."""

from gcp.kernels.loewner import Loewner, Spectrum
from gcp.methods import MineOptions


def mine(spectrum: Spectrum, options: MineOptions) -> Loewner:
    """L = f[lam_i, lam_j], the exact one."""
    return Loewner(spectrum.settle(spectrum.divided_differences()))
'''
OPTIONS = '''@dataclass(frozen=True)
class MineOptions(SpectralOptions):
    """Options of `mine`."""

    strength: int = option(3, "an option of its own", minimum=1)


'''
ENTRY = """register_method(
    "mine",
    options=MineOptions,
    kernel="gcp.kernels.mine:mine",
    summary="a method of one's own",
    source="this test",
)
"""
BEFORE = "@dataclass(frozen=True)\nclass IsqrtOptions"  # where the options of spectral methods end


@pytest.mark.slow
def test_an_added_method_passes_what_holds_for_all(tmp_path):
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for file in filter(None, files):
        if (ROOT / file).is_file():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    (tmp_path / "gcp/kernels/mine.py").write_text(KERNEL)
    methods = (tmp_path / "gcp/methods.py").read_text()
    assert methods.count(BEFORE) == 1
    (tmp_path / "gcp/methods.py").write_text(methods.replace(BEFORE, OPTIONS + BEFORE) + ENTRY)
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
