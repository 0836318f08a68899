"""What an overlay (recipe=..., debug=...) sets, as if it had been written on the command line. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hydra.core.default_element import GroupDefault
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from lightning_modules.settings.sections import GROUPS


def names_set_by(group: str, name: str) -> list[str]:
    """Dotted names of the options that the file ``group/name.yaml`` sets; a group it chooses counts as its name."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    overlay = hydra.config_loader.repository.load_config(f"{group}/{name}")
    assert overlay is not None
    values = OmegaConf.to_container(overlay.config)
    assert isinstance(values, dict)
    values.pop("hydra", None)
    entries = [
        entry for entry in overlay.defaults_list or [] if isinstance(entry, GroupDefault) and entry.is_override()
    ]
    chosen = [str(entry.group).lstrip("/") for entry in entries]
    return [f"{GROUPS[each][0]}.name" for each in chosen if each in GROUPS] + list(_leaves("", values))


def _leaves(prefix: str, values: dict[Any, Any]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}"
