"""What a checkpoint's run chose by name, as arguments of the command line that goes on with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gcp.errors import CheckpointError
from lightning_modules.run.plugins import import_plugins
from lightning_modules.run.ranks import is_main_process
from lightning_modules.settings.sections import GROUPS

NETWORK = ("method", "backbone")  # groups that a new classifier on top of a checkpoint takes from it
LOGGER = "logger"  # the new run's own


def stored_choices(given: Mapping[str, Any]) -> list[str]:
    """Arguments to add: names that the run behind ``ckpt_path`` chose and this command line does not.

    Hydra knows the options of the names it composes with: ``data.root`` exists if the dataset is the checkpoint's, not
    the default one. The plugins that registered those names are imported. Of several checkpoints, in a sweep, what all
    chose is added, and the plugins of each; the rest is added to each job.

    Args:
        given: values of the arguments that are there, by name; a tuple where a sweep has several.

    Raises:
        CheckpointError: a checkpoint of a method, backbone or dataset that no registry holds.
        MissingDependencyError: a plugin of the run cannot be imported.
    """
    path = given.get("ckpt_path")
    paths = path if isinstance(path, tuple) else (path,)
    named = given.get("plugins") or []
    own = [str(name) for name in (named if isinstance(named, list) else [named])]
    found = [choices for each in paths if isinstance(each, str) and (choices := _choices(each, given)) is not None]
    plugins = [name for name in dict.fromkeys(name for names, _ in found for name in names) if name not in own]
    if plugins and is_main_process():
        print(f"with the checkpoint's plugins: {', '.join(plugins)}", file=sys.stderr)
    added = [f"plugins=[{','.join([*plugins, *own])}]"] if plugins else []
    if len(found) < len(paths):
        return added
    return added + [name for name in found[0][1] if all(name in names for _, names in found)]


def _choices(path: str, given: Mapping[str, Any]) -> tuple[list[str], list[str]] | None:
    """Of one checkpoint, the plugins, which are imported, and the arguments; None if there is nothing to go by."""
    training, fresh = given.get("mode", "fit") == "fit", given.get("ckpt_classifier") == "new"
    if fresh and not training:  # refused
        return None
    from lightning_modules.run.restore import stored_config

    directory = given.get("hydra.run.dir")
    try:
        config = stored_config(path, None if directory is None else Path(str(directory)), training)
    except CheckpointError:
        return None  # said when the run is restored, after all else that may be wrong with the arguments
    if config is None:
        return None
    plugins = [str(name) for name in config.get("plugins") or []]
    import_plugins(plugins)
    if training and "recipe" in given:  # which names its own
        return plugins, []
    groups = NETWORK if fresh else [group for group in GROUPS if group != LOGGER and GROUPS[group][0] in config]
    return plugins, [f"{group}={_name(config, group)}" for group in groups if group not in given]


def _name(config: dict[str, Any], group: str) -> str:
    """The name the configuration has for the group. Raises CheckpointError unless it is registered."""
    section, registry = GROUPS[group]
    name = (config.get(section) or {}).get("name")
    if name not in registry:
        raise CheckpointError(
            f"the checkpoint's {group} is '{name}', which is not known here; name the module that registers it: "
            "plugins=[my_module]"
        )
    return str(name)
