"""Images are normalised by what the pretrained weights expect, and the configuration says so. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gcp.backbones.packages import PACKAGE, packaged
from gcp.backbones.runs import checkpoint_of
from gcp.errors import CheckpointError, OptionError
from gcp.hub.config_file import read_config
from gcp.hub.files import CONFIG as NETWORK
from gcp.hub.files import is_network_folder
from lightning_modules.run.checkpoint_names import CONFIG_KEY


def with_normalisation(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with ``data.mean`` and ``data.std`` of packaged weights, unless they are set.

    Raises OptionError if the dataset has images that are normalised in another way.
    """
    backbone, data = config["backbone"], config["data"]
    if backbone.get("weights") != PACKAGE or "model" not in backbone:
        return dict(config)
    if "mean" not in data:
        raise OptionError(
            f"backbone.weights=package expects images in the normalisation of its weights, and dataset "
            f"'{data['name']}' has one of its own; use a dataset of files, or backbone.weights=null"
        )
    if data["mean"] is not None:
        return dict(config)
    known = packaged(backbone["model"])
    return {**config, "data": {**data, "mean": list(known.mean), "std": list(known.std)}}


def with_normalisation_of_run(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with ``data.mean`` and ``data.std`` of the images its backbone's weights saw, unless they are set.

    Reads the checkpoint of the run, or the description of the network, if ``backbone.weights`` names one. Whether it
    fits is seen when the weights are loaded.
    """
    weights, data = config["backbone"].get("weights"), config["data"]
    if not isinstance(weights, str) or "mean" not in data or data["mean"] is not None:
        return dict(config)
    try:
        stored = _seen(weights)
    except CheckpointError:
        return dict(config)  # whoever loads the weights says more
    if stored is None:
        return dict(config)
    return {**config, "data": {**data, **{name: stored.get(name) for name in ("mean", "std")}}}


def _seen(weights: str) -> Mapping[str, Any] | None:
    """What a run or a network's folder says of the images; None: ``weights`` are something else."""
    file = checkpoint_of(weights)
    if file is not None:
        from lightning_modules.run.read_checkpoint import is_ours, readable  # torch

        _, contents = readable(file, say=False)
        stored: Mapping[str, Any] = contents[CONFIG_KEY]["data"] if is_ours(contents) else {}
        return stored
    if not is_network_folder(Path(weights)):
        return None
    _, facts = read_config(Path(weights, NETWORK))
    return {**facts.get("data", {}), **facts.get("preprocessing", {})}
