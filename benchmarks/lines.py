"""Results as lines of JSON, each written as soon as there is one; a line that a kill cut short does not count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read(file: Path) -> list[dict[str, Any]]:
    """The whole lines."""
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def append(file: Path, entry: dict[str, Any]) -> None:
    """Write one more, in the place of one that was cut short."""
    with file.open("a+b") as stream:
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)
        stream.write(json.dumps(entry).encode() + b"\n")
