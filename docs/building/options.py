"""A page for each group of the command line, from the registries and option classes: nothing is written twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from building.pages import table, write_folder
from conf.help import first_comment, rows_of
from conf.known import Known, inner, known_options, section_options
from conf.schema import OVERLAYS, files_of
from lightning_modules.settings.callbacks import CALLBACKS, SWITCH, sections_of_callbacks
from lightning_modules.settings.sections import GROUPS, SECTIONS


def write() -> None:
    """Write the pages."""
    write_folder("options", {f"{name}.md": text for name, text in pages().items()})


def pages() -> dict[str, str]:
    """The pages' texts by group."""
    texts = {
        "run": _page("run", "Options of a run as a whole.", _options([o for o in known_options() if "." not in o.key]))
    }
    for group, (section, registry) in GROUPS.items():
        about = f"`{group}=NAME` chooses one; its options are set as `{section}.option=value`."
        names = _names(registry.names(), lambda name, registry=registry: _described(registry.get(name)))
        texts[group] = _page(group, about, names, _options(section_options(section)))
    for section, options in SECTIONS.items():
        parts = [(options.__doc__ or "").splitlines()[0]]
        if len(files_of(section)) > 1 or section in OVERLAYS:
            parts.append(_names(files_of(section), lambda name, section=section: first_comment(section, name)))
        parts.append(_options([each for each in section_options(section) if each.key.count(".") == 1]))
        if section == "callbacks":
            parts += [f"## Callbacks by name\n\nEach is {SWITCH}.\n", *map(_callback, sections_of_callbacks())]
        texts[section] = _page(section, *parts)
    for group, purpose in OVERLAYS.items():
        if group not in texts:
            names = _names(files_of(group), lambda name, group=group: first_comment(group, name))
            texts[group] = _page(group, f"`{group}=NAME`: {purpose}.", names)
    return texts


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# `{title}`", *parts])


def _described(entry: object) -> str:
    source = getattr(entry, "source", "")
    return f"{entry.summary}; {source}" if source else entry.summary  # type: ignore[attr-defined]  # what all entries have


def _names(names: Iterable[str], describe: Callable[[str], str]) -> str:
    return table(("name", "what it is"), [(f"`{name}`", describe(name)) for name in names])


def _callback(name: str) -> str:
    return f"### `callbacks.{name}`\n\n{CALLBACKS.get(name).summary}\n\n{_options(inner(name))}"


def _options(options: list[Known]) -> str:
    """A list of definitions: it can be read on a telephone, where a table of four columns cannot."""
    entries = []
    for (key, default, range_, help), owners in rows_of(options).items():
        of = f"; of {', '.join(owners)}" if owners else ""
        entries.append(f"`{key}` = `{default or '...'}`\n: {help}\n\n  *{range_ or 'anything'}{of}*\n")
    return "\n".join(entries)
