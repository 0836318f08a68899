"""What stands beside the code agrees with it: version, changelog, continuous integration."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from pathlib import Path

import yaml

import gcp

ROOT = Path(__file__).resolve().parent.parent


def test_the_changelog_knows_the_version():
    sections = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert sections[0] == "Unreleased" if ".dev" in gcp.__version__ else gcp.__version__ in sections
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert cited in sections


def test_the_workflow_calls_the_same_script_on_every_python():
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["ci"]
    assert job["strategy"]["matrix"]["python"][0] in (ROOT / "pyproject.toml").read_text()  # requires-python
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]
    assert (ROOT / ".ci/run").exists()


def test_hooks_call_tools_that_the_extra_dev_installs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    required = " ".join(importlib.metadata.requires("gcp-lightning") or [])
    assert {hook["entry"].split()[0] for hook in hooks} == {"ruff", "mypy"}
    assert all(hook["entry"].split()[0] in required for hook in hooks)


def test_what_mypy_is_told_to_ignore_has_a_reason():
    lines = [(path, line) for path in (ROOT / "gcp").rglob("*.py") for line in path.read_text().splitlines()]
    ignored = [(path.name, line) for path, line in lines if "# type: ignore" in line]
    assert [entry for entry in ignored if not re.search(r"# type: ignore\[[\w-]+\]  # \w", entry[1])] == []


def test_what_the_type_checker_is_told_to_ignore_has_a_reason():
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    checked = [ROOT / name for name in files.stdout.split() if not name.startswith(("tests/", "benchmarks/"))]
    lines = [(path.name, line) for path in checked for line in path.read_text(encoding="utf-8").splitlines()]
    bare = [
        each for each in lines if "# type: ignore" in each[1] and not re.search(r"ignore\[[\w, -]+\]  # \w", each[1])
    ]
    assert not bare
