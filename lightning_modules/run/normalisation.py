"""Images are normalised by what the pretrained weights expect, and the configuration says so. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gcp.backbones.packages import PACKAGE, packaged
from gcp.errors import OptionError


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
