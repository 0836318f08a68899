"""What the README and the pages of docs/ say is what happens: their commands, their Python, the names they mention."""

from __future__ import annotations

import re

import pytest

from conf.known import find, groups, words_of
from lightning_modules.settings.callbacks import sections_of_callbacks
from lightning_modules.settings.sections import sections
from tests.conftest import ROOT
from tests.docs.commands import PAGES, commands, prepare, small
from tests.slow import slow_unless

WITH_COMMANDS = [page for page in PAGES if commands(page)]
VARIANTS = (
    "own_images.md",
    "plugins.md",
    "reports.md",
    "conditioning.md",
    "loggers.md",
    "hub.md",
    "huggingface.md",
    "streaming.md",
    "watching.md",
    "export.md",
)  # what they do is done by other tests too
WITH_PYTHON = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]
# A block of Python, and the block of text that a sentence with "prints" announces, if there is one.
PYTHON = re.compile(r"^```python\n(.*?)^```(?:\n+[^\n`]*prints[^\n`]*\n+```text\n(.*?)^```)?", re.S | re.M)
FILES = ("csv", "html", "json", "md", "pdf", "png", "pt2", "py", "yaml")
OF_PLUGINS = (
    "damped",
    "gratings",
    "patches",
    "backbone.patch",
    "callbacks.gradient_norm",
    "data.noise",
    "method.strength",
)


def name(page):
    return str(page.relative_to(ROOT))


def code_in(page):
    """What stands between backticks, and the commands."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    return " ".join([*re.findall(r"`([^`]+)`", text), *commands(page)])


def test_there_are_as_many_commands_as_there_were():
    assert sum(len(commands(page)) for page in PAGES) >= 40


@pytest.mark.parametrize(
    "page", slow_unless([page for page in WITH_COMMANDS if page.name not in VARIANTS], WITH_COMMANDS), ids=name
)
def test_the_commands_run(page, cli, tmp_path, monkeypatch):
    if "dataset=huggingface" in "".join(commands(page)):
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    prepare(page, tmp_path, cli)
    for command in commands(page):
        arguments = small(command, page)
        if arguments is not None:
            outcome = cli(*arguments)
            assert outcome.code == 0, (command, outcome.err)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_the_python_runs_and_prints_what_the_page_says(page, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code, printed in PYTHON.findall(page.read_text(encoding="utf-8")):
        exec(code, names)
        assert printed in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_options_it_names_exist(page):
    callbacks = {f"callbacks.{each}" for each in sections_of_callbacks()}
    for key in re.findall(r"(?<![\w./=-])[a-z]\w*(?:\.[a-z]\w*)+", code_in(page)):
        parts = key.split(".")
        if parts[0] in sections() and parts[-1] not in (*FILES, "option") and not key.startswith(OF_PLUGINS):
            within = [".".join(parts[:number]) for number in range(2, len(parts) + 1)]  # of a mapping: its option
            assert key in callbacks or any(find(each) for each in within), f"there is no option {key}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_names_it_gives_to_groups_exist(page):
    for group, names in re.findall(r"(?<![\w./=-])([a-z_]+)=([a-z]\w[\w,|]*)", code_in(page)):
        if group in groups():
            unknown = set(re.split(r"[,|]", names)) - set(words_of(group)) - set(OF_PLUGINS)
            assert not unknown, f"{group}={unknown}"
