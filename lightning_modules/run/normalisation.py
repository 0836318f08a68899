"""Images are normalised by what the pretrained weights expect, and the configuration says so. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gcp.backbones.packages import PACKAGE, packaged
from gcp.backbones.runs import checkpoint_of
from gcp.errors import CheckpointError, OptionError
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
    """``config`` with ``data.mean`` and ``data.std`` of the run its backbone's weights come from, unless they are set.

    Reads that run's checkpoint, if ``backbone.weights`` names one. Whether it fits is seen when the weights are loaded.
    """
    weights, data = config["backbone"].get("weights"), config["data"]
    file = checkpoint_of(weights) if isinstance(weights, str) else None
    if file is None or "mean" not in data or data["mean"] is not None:
        return dict(config)
    from lightning_modules.run.read_checkpoint import is_ours, readable  # torch

    try:
        _, contents = readable(file, say=False)
    except CheckpointError:
        return dict(config)  # whoever loads the weights says more
    stored = contents[CONFIG_KEY]["data"] if is_ours(contents) else {}
    return {**config, "data": {**data, **{name: stored.get(name) for name in ("mean", "std")}}}
