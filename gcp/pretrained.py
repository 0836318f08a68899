"""Networks from folders and from the Hub."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from gcp.errors import CheckpointError, GCPError, MissingDependencyError, OptionTypeError, first_line
from gcp.hub.config_file import read_config
from gcp.hub.files import CONFIG, WEIGHTS
from gcp.hub.remote import fetch, is_repository
from gcp.hub.tensors import check_tensors, load_tensors, read_tensors, safetensors
from gcp.model import PoolingNetwork, build, outline
from gcp.network_config import NetworkConfig
from gcp.options import check_type


def from_pretrained(source: str | os.PathLike[str], revision: str | None = None) -> PoolingNetwork:
    """A network that `PoolingNetwork.save_pretrained` or ``mode=export export.format=hub`` wrote.

    Args:
        source: its folder; or "owner/name", a repository of the Hugging Face Hub.
        revision: branch, tag or commit of the repository.

    Returns:
        the network on the CPU, in evaluation mode, in the precision it was saved in. ``facts`` holds what was written
        beside it: preprocessing, data and metrics.

    Raises:
        CheckpointError: no folder or repository, the Hub is out of reach, or the files are damaged, of another
            network, or ask for what is not known here. Nothing in them is run.
        MissingDependencyError: the extra hub is not installed, or what the backbone comes from.
        OptionTypeError: arguments of a wrong type.

    >>> import gcp, tempfile, torch
    >>> model = gcp.create_model("tiny", "pade", num_classes=5, backbone_options={"width": 8}).eval()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save_pretrained(folder)
    ...     again = from_pretrained(folder)
    >>> x = torch.rand(2, 3, 32, 32)
    >>> torch.equal(again(x), model(x))
    True
    """
    if not isinstance(source, (str, os.PathLike)):
        raise OptionTypeError(f"source must be a folder or the name of a repository, got {source!r}")
    check_type("revision", revision, str | None)
    folder = Path(source)
    if folder.is_dir():
        return load_folder(folder)
    if isinstance(source, str) and is_repository(source):
        return load_folder(fetch(source, revision))
    raise CheckpointError(f"there is no folder {str(source)!a}, and a repository of the Hub is called owner/name")


def load_folder(directory: Path) -> PoolingNetwork:
    """The network in a folder, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: a file is missing or damaged, or the two are not of one network; names of methods, backbones
            or options that are not known here. Nothing in the files is run.
        MissingDependencyError: safetensors is not installed, or what the backbone comes from.
    """
    safetensors()
    network, facts = read_config(directory / CONFIG)
    tensors = read_tensors(directory / WEIGHTS)
    # Without memory first: what a description says of sizes costs nothing before the file bears it out.
    check_tensors(tensors, _described(network, directory, outline), directory / WEIGHTS, CONFIG)
    with torch.random.fork_rng(devices=[]):  # first weights are random
        model = _described(network, directory, build)
    load_tensors(model, tensors)
    model.facts = facts
    return model.eval()


def _described(
    network: NetworkConfig, directory: Path, make: Callable[[NetworkConfig], PoolingNetwork]
) -> PoolingNetwork:
    """``make(network)``. Raises CheckpointError for a description of no network."""
    try:
        return make(network)
    except MissingDependencyError:
        raise
    except (GCPError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        reason = " ".join((str(error) if isinstance(error, GCPError) else first_line(error)).split())
        raise CheckpointError(f"{directory / CONFIG} describes no network that can be built: {reason}") from None
