"""A network as a folder: ``config.json``, ``model.safetensors`` and a model card."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import nn

from gcp.errors import CheckpointError, OptionError
from gcp.hub.config_file import write_config
from gcp.hub.files import CARD, CONFIG, WEIGHTS
from gcp.hub.tensors import check_tensors, safetensors, write_tensors
from gcp.network_config import NetworkConfig


def save_folder(
    model: nn.Module, network: NetworkConfig, outline: nn.Module, directory: Path, facts: dict[str, Any], card: str
) -> None:
    """Write the three files.

    Args:
        model: the network.
        network: what it was built from.
        outline: a network built from that, which may be on the meta device.
        directory: the folder, made if there is none.
        facts: what is known of the network.
        card: text of the model card.

    Raises:
        OptionError: the network is not as it was built, so that its description would be of another; nothing is
            written. Or facts that JSON cannot hold.
        MissingDependencyError: safetensors is not installed.
    """
    safetensors()
    try:
        check_tensors(model.state_dict(), outline, Path(WEIGHTS), "the arguments it was built from")
    except CheckpointError as error:
        raise OptionError(f"the network was changed after it was built: {error}; save its state_dict") from None
    directory.mkdir(parents=True, exist_ok=True)
    write_config(directory / CONFIG, network, facts)
    partial = directory / f"{WEIGHTS}.partial"
    write_tensors(model, partial)
    os.replace(partial, directory / WEIGHTS)
    (directory / CARD).write_text(card, encoding="utf-8")
