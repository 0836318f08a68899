"""Write the files of ``conf`` that list the options of what the registries hold: ``python -m conf.writing``.

Each lists its options with their defaults and what they do, from the option class, where both stand. A name without
options has no file.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
from pathlib import Path

import yaml

from conf.known import inner
from conf.schema import HERE, INTERPOLATED, OVERLAYS, added_options
from gcp.options import Options, default_of, range_of
from lightning_modules.settings.callbacks import CALLBACKS, SWITCH, sections_of_callbacks
from lightning_modules.settings.sections import ADDED, GROUPS, SECTIONS

WIDTH = 120


def main() -> None:
    """Write every file that differs, remove those of names without options, and say which."""
    files = written()
    for path in sorted(files.keys() | owned()):
        text = files.get(path)
        if text is None:
            path.unlink()
            print(f"removed {path.relative_to(HERE)}")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(HERE)}")


def written() -> dict[Path, str]:
    """Path and content of every file that follows from an option class."""
    files: dict[Path, str] = {}
    for group, (section, registry) in GROUPS.items():
        for name in registry.names():
            entry = registry.get(name)
            source = getattr(entry, "source", "")
            title = f"{entry.summary}; {source}" if source else entry.summary
            package = None if section == group else section
            added = added_options(group, entry)
            files[HERE / group / f"{name}.yaml"] = _file(group, name, title, package, entry.options, added)
    for section, options in SECTIONS.items():
        if section not in OVERLAYS:
            title = (options.__doc__ or "").splitlines()[0]
            text = _file(section, "default", title, None, options, {})
            files[HERE / section / "default.yaml"] = text + _callbacks() if section == "callbacks" else text
    return {path: text for path, text in files.items() if text}


def owned() -> set[Path]:
    """The files that `main` decides about: all of a registry's group, and each section's default."""
    paths = {path for group in GROUPS for path in (HERE / group).glob("*.yaml")}
    return paths | {HERE / section / "default.yaml" for section in SECTIONS if section not in OVERLAYS}


def _file(
    group: str, name: str, title: str, package: str | None, options: type[Options], added: dict[str, object]
) -> str:
    entries = []
    for field in dataclasses.fields(ADDED[group]) if group in ADDED else ():
        entries.append((field.name, _described(field), added[field.name]))
    for field in dataclasses.fields(options):
        entries.append((field.name, _described(field), INTERPOLATED.get((group, field.name), default_of(field))))
    if not entries:
        return ""
    lines = [] if package is None else [f"# @package {package}"]
    lines += [*_comment(title), "defaults:", f"  - /_schema/{group}@_here_: {name}", "  - _self_", ""]
    for key, help, value in entries:
        lines += [*_comment(help), f"{key}: {_yaml(value)}"]
    return "\n".join(lines) + "\n"


def _callbacks() -> str:
    """The sections of the callbacks, which are empty; their options stand there to be copied."""
    lines = ["", *_comment(f"callbacks by name, each {SWITCH}")]
    for name in sections_of_callbacks():
        lines += ["", *_comment(CALLBACKS.get(name).summary), f"{name}: {{}}"]
        for each in inner(name):
            lines += [f"  {line}" for line in _comment(_described(each.field), WIDTH - 2)]
            lines.append(f"  # {each.field.name}: {_yaml(default_of(each.field))}")
    return "\n".join(lines) + "\n"


def _described(field: dataclasses.Field[object]) -> str:
    help, choices = field.metadata["help"], field.metadata.get("choices")
    named = choices is not None and set(map(str, choices)) <= set(re.findall(r"[\w.-]+", help))
    return help if named or not range_of(field) else f"{help}; {range_of(field)}"


def _comment(text: str, width: int = WIDTH) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _yaml(value: object) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


if __name__ == "__main__":
    main()
