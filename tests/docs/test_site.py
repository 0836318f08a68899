"""The documentation site: what it is made from, and that its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from conf.known import known_options
from tests.conftest import ROOT

sys.path.append(str(ROOT / "docs"))

from building import options

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / "docs/examples").glob("*.md")]
PAGES += sorted((ROOT / "benchmarks").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    targets = re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", text)
    made = {f"options/{name}.md" for name in options.pages()}  # by the build, from the registries
    assert [target for target in targets if not (page.parent / target).exists() and target not in made] == []


def test_every_option_stands_on_the_page_of_its_group():
    pages = options.pages()
    text = "\n".join(pages.values())
    assert {"run", "method", "callbacks", "recipe", "sweep"} <= pages.keys()
    assert [known.key for known in known_options() if f"\n`{known.key}` = " not in text] == []


def test_ci_builds_it_and_takes_no_warning():
    assert "-m sphinx -W --keep-going --quiet -b html docs docs/_build" in (ROOT / ".ci/run").read_text()


@pytest.mark.slow
def test_it_builds_without_warnings_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "--quiet", "-b", "html", "docs", tmp_path / "site"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 40
    loaded = re.compile(r"""<(?:script|img|iframe)[^>]*src="https?://|<link[^>]*rel="stylesheet"[^>]*href="https?://""")
    assert [page.name for page in pages if loaded.search(page.read_text(encoding="utf-8"))] == []
