"""Pretrained weights: torchvision's by name, a local file, or a run or network of this project."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from gcp.backbones.runs import RUN_FILES, checkpoint_of
from gcp.errors import CheckpointError, WeightsError
from gcp.hub.files import WEIGHTS, is_network_folder
from gcp.hub.tensors import read_tensors as read_network_tensors
from gcp.registry import nearest
from gcp.tensor_files import read_tensors

# Beginnings of the keys that belong to what comes after the feature map.
HEADS = ("fc.", "classifier.", "AuxLogits.")
# torchvision's DenseNet files hold names from before dots were reserved: denselayer1.norm.1.weight.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


FEATURES = "features."  # how the backbone's keys begin in networks
RUN_PREFIX = f"model.{FEATURES}"  # and in checkpoints of runs


def features_of_run(weights: str) -> dict[str, Tensor] | None:
    """The backbone in a run directory, checkpoint or network's folder of this project; None: it is something else.

    Raises WeightsError for another folder, or what cannot be read.
    """
    path = checkpoint_of(weights)
    if path is not None:
        return _behind(RUN_PREFIX, read_weights(path))
    if is_network_folder(Path(weights)):
        try:
            return _behind(FEATURES, read_network_tensors(Path(weights, WEIGHTS)))
        except CheckpointError as error:
            raise WeightsError(f"weights from a folder: {error}") from None
    if Path(weights).is_dir():
        raise WeightsError(
            f"the folder {weights} is no run directory and no network: it has no {RUN_FILES[0]} and no {WEIGHTS}; give "
            "a run, a network's folder or a file"
        )
    return None


def _behind(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors whose keys begin with ``prefix``, without it; None if there are none."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)} or None


def load_pretrained(module: nn.Module, architecture: str, weights: str, prefix: str = "") -> None:
    """Load pretrained weights into the part of a torchvision network that gives the feature map.

    Args:
        module: the part; its own keys are the network's behind ``prefix``.
        architecture: torchvision's name of the network, "resnet50".
        weights: a name of its weights ("IMAGENET1K_V2", "DEFAULT"), or the path of a file with its state dict.
        prefix: "features." for networks that keep the feature part under that name.

    Raises:
        WeightsError: neither a name nor a file, not available, unreadable, or of another network; nothing is loaded.
    """
    state = read_weights(Path(weights)) if _is_path(weights) else _published(architecture, weights)
    renamed = {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}
    load_matching(module, {key: value for key, value in renamed.items() if not key.startswith(HEADS)}, weights, prefix)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file that ``torch.save`` wrote. Raises WeightsError for a file without one."""
    try:
        return read_tensors(path).tensors
    except CheckpointError as error:
        raise WeightsError(f"weights from a file: {error}") from None


def load_matching(module: nn.Module, state: Mapping[str, Tensor], source: str, prefix: str = "") -> None:
    """Load ``state``, whose keys are those of ``module`` behind ``prefix``.

    Raises WeightsError if keys or shapes differ; nothing is loaded then. Batch-norm counters may be missing.
    """
    own = {f"{prefix}{key}": value for key, value in module.state_dict().items()}
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    wrong = [f"{key} {tuple(state[key].shape)}" for key in own if key in state and state[key].shape != own[key].shape]
    problems = [
        f"{len(keys)} {what}, first {keys[0]}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
        if keys
    ]
    if problems:
        raise WeightsError(f"the weights {source} are of another network ({'; '.join(problems)})")
    module.load_state_dict({key.removeprefix(prefix): value for key, value in state.items()}, strict=False)


def load_in_order(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load ``state``, whose tensors are those of ``module`` in the same order under other names.

    Raises WeightsError if their number differs, or at any place the shape or the last part of the name ("weight",
    "running_mean"); nothing is loaded then.
    """
    own = module.state_dict()
    if len(own) != len(state):
        raise WeightsError(f"the weights {source} are of another network ({len(state)} tensors in place of {len(own)})")
    pairs = list(zip(own.items(), state.items(), strict=True))
    for (name, mine), (other, theirs) in pairs:
        if mine.shape != theirs.shape or name.rpartition(".")[2] != other.rpartition(".")[2]:
            raise WeightsError(
                f"the weights {source} are of another network ({other} {tuple(theirs.shape)} in the place of {name} "
                f"{tuple(mine.shape)})"
            )
    module.load_state_dict({name: theirs for (name, _), (_, theirs) in pairs})


def _is_path(weights: str) -> bool:
    return os.sep in weights or bool(Path(weights).suffix) or Path(weights).is_file()


def _published(architecture: str, name: str) -> Mapping[str, Tensor]:
    weights = _find(architecture, name)
    try:
        state: Mapping[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        folder = os.path.join(torch.hub.get_dir(), "checkpoints")
        raise WeightsError(
            f"could not fetch the weights {name} of {architecture} ({error}); without network, put the file "
            f"{os.path.basename(weights.url)} from {weights.url} into {folder}, or leave weights out"
        ) from error
    return state


def _find(architecture: str, name: str) -> Any:
    from torchvision.models import get_model_weights

    known = get_model_weights(architecture)
    names = list(known.__members__)  # DEFAULT among them
    if name not in names:
        raise WeightsError(
            f"{architecture} has no weights '{name}'{nearest(name, names)}; torchvision has {', '.join(names)}, "
            "or give the path of a file"
        )
    return known[name]
