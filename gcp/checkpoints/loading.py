"""Published checkpoints into our networks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gcp.checkpoints.fit import check_fit, part_of
from gcp.checkpoints.layouts import ORDERS, our_key, to_upper
from gcp.errors import CheckpointError, OptionError, OptionTypeError
from gcp.model import PoolingNetwork
from gcp.tensor_files import StateFile, read_tensors

CLASSIFIERS = ("load", "new")


@dataclass(frozen=True)
class LoadReport:
    """What `load_reference_checkpoint` did.

    Attributes:
        path: the file.
        loaded: our keys that now hold the file's values.
        kept: our keys that hold what they held before.
        architecture: what the file calls its network, if it does.
    """

    path: Path
    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    architecture: str | None


def load_reference_checkpoint(
    model: PoolingNetwork,
    path: str | os.PathLike[str],
    triangle: str = "upper",
    classifier: str = "load",
) -> LoadReport:
    """Load a checkpoint of the reference (DifferentiableSVD) or of its parent project (fast-MPN-COV).

    The file is a state dict, bare or wrapped with epoch and optimizer, with or without the ``module.`` of data
    parallelism. Nothing in it is run. All keys and shapes are compared before the first value is copied.

    Args:
        model: of `gcp.create_model`, with the checkpoint's backbone, channel reduction and kind of pooling.
        path: the file.
        triangle: the order in which its network wrote the covariance's triangle. "upper": the upper triangle row
            after row, as here; "lower": the lower triangle row after row. Some of the parent project's were trained
            with another order than upper; nothing in a file says which, but the wrong one gives chance accuracy.
        classifier: "new" leaves the model's classifier as it is, for another number of classes, and warns.

    Returns:
        which keys were loaded and which were kept.

    Raises:
        CheckpointError: the file is missing, damaged, holds code, or is of another network; says what differs, part
            by part. The model is as before.
        OptionError: no such triangle or classifier.

    >>> import gcp, tempfile, torch
    >>> model = gcp.create_model("tiny", "pade", num_classes=5, backbone_options={"width": 8})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"arch": "tiny", "state_dict": model.state_dict()}, f"{folder}/published.pth.tar")
    ...     load_reference_checkpoint(model, f"{folder}/published.pth.tar").architecture
    'tiny'
    """
    if not isinstance(model, PoolingNetwork):
        raise OptionTypeError(f"model must be a network of gcp.create_model, got {type(model).__name__}")
    if not isinstance(path, (str, os.PathLike)):
        raise OptionTypeError(f"path must be the path of a file, got {path!r}")
    if classifier not in CLASSIFIERS:
        raise OptionError(f"classifier must be one of {', '.join(CLASSIFIERS)}, got {classifier!r}")
    if triangle not in ORDERS:
        raise OptionError(f"triangle must be one of {', '.join(ORDERS)}, got {triangle!r}")
    return load_tensors(model, read_tensors(Path(path)), triangle, classifier)


def load_tensors(model: PoolingNetwork, file: StateFile, triangle: str, classifier: str) -> LoadReport:
    """`load_reference_checkpoint` of a file that has been read already."""
    state = _renamed(file, model)
    own = model.state_dict()
    kept: tuple[str, ...] = ()
    if classifier == "new":
        kept = tuple(key for key in own if part_of(key) == "classifier")
        state = {key: value for key, value in state.items() if part_of(key) != "classifier"}
    check_fit(str(file.path), state, {key: own[key] for key in own if key not in kept}, file.architecture)
    if classifier == "load":
        first = next(key for key in own if part_of(key) == "classifier" and key.endswith("weight"))
        state[first] = to_upper(state[first], triangle)
    model.load_state_dict(state, strict=False)
    if kept:
        warnings.warn(f"the classifier is new, everything else is from {file.path}: train before testing", stacklevel=3)
    return LoadReport(file.path, tuple(state), tuple(key for key in own if key not in state), file.architecture)


def _renamed(file: StateFile, model: PoolingNetwork) -> dict[str, Tensor]:
    """The file's tensors under our keys. Raises CheckpointError if two of them get the same one."""
    names = getattr(model.features, "original_names", ())
    renamed: dict[str, Tensor] = {}
    sources: Mapping[str, str] = {key: our_key(key, names) for key in file.tensors}
    for key, ours in sources.items():
        if ours in renamed:
            raise CheckpointError(f"{file.path} holds {ours} twice, once as {key}; it mixes two layouts")
        renamed[ours] = file.tensors[key]
    return renamed
