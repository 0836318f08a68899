"""Docstrings are plain text with formulas; to reStructuredText some of their signs are markup."""

from __future__ import annotations

import re
from typing import Any

# What Napoleon takes for a list of errors, though it is a sentence: "Raises:", and no "SomeError: when" below it.
SENTENCE = re.compile(r"^Raises:\n +(?!\w+(?:, \w+)*: )(.*(?:\n +.*)*)", re.M)
CODE = re.compile(r"(``.*?``|`[^`]*`)")
MARKUP = re.compile(r"[*|\\]|(?<=\w)_(?!\w)")


def escape(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Sphinx's event: escape signs of markup outside code and doctests, in place."""
    text = SENTENCE.sub(lambda found: "Raises: " + re.sub(r"\n +", " ", found[1]), "\n".join(lines))
    lines[:] = text.split("\n")
    doctest = False
    for index, line in enumerate(lines):
        doctest = bool(line.strip()) and (doctest or line.lstrip().startswith(">>>"))
        if not doctest:
            parts = CODE.split(line)
            parts[::2] = [MARKUP.sub(lambda sign: "\\" + sign[0], part) for part in parts[::2]]
            lines[index] = "".join(parts)
