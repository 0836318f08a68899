"""``hub/``: the network as a folder for `gcp.from_pretrained` and the Hugging Face Hub, with what is known of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.preprocessing import Preprocessing
from gcp.errors import ExportError
from gcp.model import PoolingNetwork
from gcp.pretrained import from_pretrained
from lightning_modules.metric_names import TEST_ACCURACY, TEST_ACCURACY_5, TEST_LOSS, VAL_ACCURACY
from lightning_modules.run.checkpoint_names import FOLDER, LAST
from lightning_modules.run.merge_config import PLACES
from lightning_modules.run.summary import read_summary

DIRECTORY = "hub"
METRICS = (VAL_ACCURACY, TEST_ACCURACY, TEST_ACCURACY_5, TEST_LOSS, "epochs")
HERE = (
    "check",
    "damaged",
    "decode_backend",
    "batch_size",
    "eval_batch_size",
)  # of data: of the machine, not the images


def facts_of(checkpoint: Path, data: Mapping[str, Any], preprocessing: Preprocessing | None) -> dict[str, Any]:
    """What a run knows of its network.

    Args:
        checkpoint: the file its weights are in.
        data: the run's section.
        preprocessing: of its images.
    """
    facts: dict[str, Any] = {}
    if preprocessing is not None:
        facts["preprocessing"] = preprocessing.plain()
    places = {name.removeprefix("data.") for name in PLACES}
    facts["data"] = {name: value for name, value in data.items() if name not in (*places, *HERE)}
    metrics = _metrics(checkpoint)
    return {**facts, "metrics": metrics} if metrics else facts


def _metrics(checkpoint: Path) -> dict[str, Any]:
    """Those of the run the checkpoint is of, unless they are of the best one and this is not it."""
    folder = checkpoint.parent
    if folder.name != FOLDER or (checkpoint.name == LAST and len(list(folder.glob("best*.ckpt"))) > 0):
        return {}
    summary = read_summary(folder.parent)
    return {
        name: value for name in METRICS if isinstance(value := summary.get(name), (int, float)) and math.isfinite(value)
    }


@torch.no_grad()
def write(model: PoolingNetwork, facts: dict[str, Any], images: Tensor, folder: Path) -> None:
    """Write the folder and read it back.

    Raises:
        ExportError: what comes back is another network.
        OptionError, MissingDependencyError: see `PoolingNetwork.save_pretrained`.
    """
    model.save_pretrained(folder, facts)
    if not torch.equal(from_pretrained(folder)(images), model(images)):
        raise ExportError(f"the network read back from {folder} gives other logits; do not use it")
