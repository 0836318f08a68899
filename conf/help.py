"""What ``python run.py --help`` prints: groups, names and options, from the registries and option classes."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from conf.known import Known, find, groups, inner, known_options, owners, section_options
from conf.schema import HERE, OVERLAYS, files_of
from conf.values import takes
from gcp.errors import UnknownNameError
from gcp.options import Options, default_of, written
from gcp.registry import Registry, nearest
from lightning_modules.settings.callbacks import CALLBACKS, SWITCH, sections_of_callbacks
from lightning_modules.settings.sections import GROUPS, SECTIONS, RunOptions

USAGE = """[bold]Global covariance pooling with differentiable spectral layers[/bold]

  python run.py                                   train and test on embedded data
  python run.py method=taylor method.degree=50    another method, one of its options
  python run.py backbone=resnet50 dataset=textures
  python run.py -m method=pade,taylor seed=0,1,2  every combination, one after the other
  python run.py recipe=hybrid_digits              one method first, another one for the rest
  python run.py mode=test ckpt_path=last          test the newest run again
  python run.py mode=export ckpt_path=last        its network as a file; export.format=torch|onnx|both|hub
  python run.py mode=predict ckpt_path=last data.path=DIR   classify images
  python run.py mode=shards shards.folder=DIR     the dataset as tar files, for dataset=webdataset data.urls=DIR
  python run.py --help method                     one group with what its options mean; also one name or option

Choose a name of a group with group=name, set an option with section.option=value.
Hydra's own options: --cfg job shows the configuration, --config-dir adds a folder of your own, --hydra-help lists more.
"""


def show(topics: list[str]) -> None:
    """Print the help, or that of groups, names and options.

    Raises UnknownNameError for an unknown topic.
    """
    console = Console(soft_wrap=False)
    for topic in topics:
        name, _, value = topic.partition("=")
        _show_topic(console, name if "." in name or not value else value)
    if not topics:
        _show_all(console)


def _show_all(console: Console) -> None:
    console.print(USAGE, highlight=False)
    console.print(_section("run", RunOptions, ""))
    for group, (section, registry) in GROUPS.items():
        console.print(_names(group, section, registry))
    for section, options in SECTIONS.items():
        console.print(_section(section, options, f"{section}."))
        if section == "callbacks":
            console.print(_callbacks())
    for group, purpose in OVERLAYS.items():
        console.print(f"[bold]{group}=[/bold]{'|'.join(files_of(group))}  {purpose}", highlight=False)


def _show_topic(console: Console, topic: str) -> None:
    group = next((group for group, (section, _) in GROUPS.items() if topic in (group, section)), None)
    entries = [
        (section, name)
        for section, registry in GROUPS.values()
        for name in registry.names()
        if name.lower() == topic.lower()
    ]
    single = find(topic) or [option for key in owners(topic) for option in find(key)]
    if group is not None:
        section, registry = GROUPS[group]
        console.print(_summaries(group, {name: registry.get(name).summary for name in registry.names()}))
        console.print(_options(f"options, set as {section}.option=value", section_options(section)), highlight=False)
    elif topic == "run":
        console.print(_options("run", [option for option in known_options() if "." not in option.key]), highlight=False)
    elif topic in SECTIONS or topic in OVERLAYS:
        if topic in OVERLAYS or len(files_of(topic)) > 1:
            console.print(_summaries(topic, {name: first_comment(topic, name) for name in files_of(topic)}))
        if topic == "callbacks":
            console.print(_callbacks())
        if topic in SECTIONS:
            console.print(_options(f"options, set as {topic}.option=value", section_options(topic)), highlight=False)
    elif topic.removeprefix("callbacks.") in sections_of_callbacks():
        name = topic.removeprefix("callbacks.")
        console.print(_options(f"{name}: {CALLBACKS.get(name).summary}", inner(name)), highlight=False)
    elif entries:
        for section, name in entries:
            options = [option for option in section_options(section) if option.owner == name]
            console.print(_options(name, options), highlight=False)
    elif single:
        console.print(_options(topic, single), highlight=False)
    else:
        known = [*groups(), *SECTIONS, *(option.key for option in known_options())]
        raise UnknownNameError(
            f"there is no help on '{topic}'{nearest(topic, known)}; groups: {', '.join(groups())}; or a name, an option"
        )


def _names(group: str, section: str, registry: Registry[Any]) -> Table:
    of_section = section_options(section)
    options = {name: [each for each in of_section if each.owner == name] for name in registry.names()}
    return _listed(f"{group}=...", section, registry, options)


def _callbacks() -> Table:
    options = {name: inner(name) for name in sections_of_callbacks()}
    return _listed(f"callbacks.NAME: each is {SWITCH}", "callbacks.NAME", CALLBACKS, options)


def _listed(title: str, section: str, registry: Registry[Any], options: dict[str, list[Known]]) -> Table:
    """Names of a registry with what they are and their options."""
    table = _table(title, "name", "what it is", f"options, set as {section}.option=value")
    for name, own in options.items():
        defaults = " ".join(f"{each.field.name}={default(each)}" for each in own)
        table.add_row(name, escape(registry.get(name).summary), escape(defaults))
    return table


def _section(title: str, options: type[Options], prefix: str) -> Table:
    table = _table(title, "option", "default", "what it does")
    for field in dataclasses.fields(options):
        known = Known(prefix + field.name, "", None, field)
        table.add_row(known.key, escape(default(known)), escape(field.metadata.get("help", "")))
    return table


def _options(title: str, options: list[Known]) -> Group:
    """Options with default, range and description, once where several owners have the same."""
    lines: list[RenderableType] = [f"[bold]{escape(title)}[/bold]"]
    for (key, value, range_, help), names in rows_of(options).items():
        of = f"   [dim]of {', '.join(names)}[/dim]" if names else ""
        lines.append(f"{key}={escape(value)}   {escape(range_)}{of}")
        lines.append(Padding(escape(help), (0, 0, 0, 4)))
    return Group(*lines)


def rows_of(options: list[Known]) -> dict[tuple[str, str, str, str], list[str]]:
    """Key, default, range and help of each option, with its owners where it is not everyone's."""
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for each in options:
        row = (each.key, default(each), takes(each), each.field.metadata.get("help", ""))
        rows.setdefault(row, []).append(each.owner)
    everyone = {each.owner for each in options}
    return {row: [] if set(names) == everyone else names for row, names in rows.items()}


def _summaries(group: str, summaries: dict[str, str]) -> Table:
    table = _table(f"{group}=...", "name", "what it is")
    for name, summary in summaries.items():
        table.add_row(name, escape(summary))
    return table


def first_comment(group: str, name: str) -> str:
    """What a file of ``conf`` says first: what it is."""
    lines = (HERE / group / f"{name}.yaml").read_text().splitlines()
    return next((line[2:] for line in lines if line.startswith("# ") and "@package" not in line), "")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def default(option: Known) -> str:
    """Its default; the classifier's hidden layers and the reduction are the entry's own."""
    for section, registry in GROUPS.values():
        if option.owner and option.key in (f"{section}.hidden", f"{section}.reduced_channels"):
            return written(getattr(registry.get(option.owner), option.field.name))
    return written(default_of(option.field))
