"""The files of a folder that holds a network. Free of torch."""

from __future__ import annotations

from pathlib import Path

CONFIG = "config.json"  # what the network is built from, and what is known of it
WEIGHTS = "model.safetensors"
CARD = "README.md"  # the model card, for people
FORMAT = "gcp"  # the value of "format" in CONFIG
VERSION = 1  # of that format


def is_network_folder(path: Path) -> bool:
    """Whether ``path`` is a folder that `gcp.from_pretrained` reads."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()
