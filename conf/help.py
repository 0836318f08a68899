"""What ``python run.py --help`` prints: groups, names and options, from the registries and option classes."""

from __future__ import annotations

import dataclasses

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from conf.schema import GROUPS, HERE, OVERLAYS, SECTIONS, RunOptions
from gcp.options import Options, default_of

USAGE = """[bold]Global covariance pooling with differentiable spectral layers[/bold]

  python run.py                                   train and test on embedded data
  python run.py method=taylor method.degree=50    another method, one of its options
  python run.py backbone=resnet50 dataset=textures
  python run.py -m method=pade,taylor seed=0,1,2  every combination, one after the other
  python run.py recipe=hybrid_digits              one method first, another one for the rest
  python run.py mode=test ckpt_path=last          test the newest run again
  python run.py mode=export ckpt_path=last        its network as a file; export.format=torch|onnx|both
  python run.py mode=predict ckpt_path=last data.path=DIR   classify images

Choose a name of a group with group=name, set an option with section.option=value.
Hydra's own options: --cfg job shows the configuration, --config-dir adds a folder of your own, --hydra-help lists more.
"""


def show() -> None:
    """Print the help."""
    console = Console(soft_wrap=False)
    console.print(USAGE, highlight=False)
    console.print(_options("run", RunOptions, ""))
    for group, (section, registry) in GROUPS.items():
        console.print(_names(group, section, registry))
    for section, options in SECTIONS.items():
        console.print(_options(section, options, f"{section}."))
    for group, purpose in OVERLAYS.items():
        names = sorted(path.stem for path in (HERE / group).glob("*.yaml"))
        console.print(f"[bold]{group}=[/bold]{'|'.join(names)}  {purpose}", highlight=False)


def _names(group: str, section: str, registry: object) -> Table:
    table = _table(f"{group}=...", "name", "what it is", f"options, set as {section}.option=value")
    for name in registry.names():  # type: ignore[attr-defined]
        entry = registry.get(name)  # type: ignore[attr-defined]
        options = [f"{field.name}={_word(default_of(field))}" for field in dataclasses.fields(entry.options)]
        if group == "method":
            options.insert(0, f"reduced_channels={_word(entry.reduced_channels)}")
        if group == "backbone":
            options.insert(0, f"hidden={list(entry.hidden)}")
        table.add_row(name, escape(entry.summary), escape(" ".join(options)))
    return table


def _options(title: str, options: type[Options], prefix: str) -> Table:
    table = _table(title, "option", "default", "what it does")
    for field in dataclasses.fields(options):
        table.add_row(prefix + field.name, escape(_word(default_of(field))), escape(field.metadata["help"]))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _word(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
