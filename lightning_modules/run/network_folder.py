"""A network's folder, as `gcp.from_pretrained` reads it, in the form of a checkpoint of ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gcp.backbones.registry import BACKBONES
from gcp.hub.files import WEIGHTS, is_network_folder
from gcp.methods import METHODS
from gcp.options import Options, default_of
from lightning_modules.run.checkpoint_names import CONFIG_KEY, FOLDER_KEY, HYPERPARAMETERS_KEY, PREPROCESSING_KEY


def is_network(path: Path) -> bool:
    """Whether ``path`` is the file of weights in a network's folder."""
    return path.name == WEIGHTS and is_network_folder(path.parent)


def read_network(path: Path) -> dict[str, Any]:
    """What a checkpoint of the network would hold, but for the run: its configuration is of the network and its data.

    Raises CheckpointError, MissingDependencyError: see `gcp.from_pretrained`.
    """
    from gcp.pretrained import from_pretrained

    model = from_pretrained(path.parent)
    network = model.config
    assert network is not None
    method = {"name": network.method, "reduced_channels": network.reduced_channels}
    backbone = {"name": network.backbone, "hidden": network.hidden, "class_token": network.class_token}
    method |= _complete(METHODS.get(network.method).options, network.method_options)
    backbone |= _complete(BACKBONES.get(network.backbone).options, network.backbone_options)
    config: dict[str, Any] = {"method": method, "backbone": backbone}
    if "name" in model.facts.get("data", {}):
        config["data"] = model.facts["data"]
    return {
        CONFIG_KEY: config,
        HYPERPARAMETERS_KEY: {"num_classes": network.num_classes, "method": method},
        PREPROCESSING_KEY: model.facts.get("preprocessing"),
        FOLDER_KEY: True,
        "state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()},
    }


def _complete(options: type[Options], given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` with the defaults of what is not given."""
    return {field.name: given.get(field.name, default_of(field)) for field in dataclasses.fields(options)}
