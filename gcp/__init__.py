"""Global covariance pooling with differentiable spectral layers.

    import gcp

    gcp.list_methods()
    pool = gcp.create_pooling("pade", in_channels=512, reduced_channels=256)
    model = gcp.create_model("resnet50", "pade", num_classes=200)

Names are imported when they are first used, so that options and registries are at hand without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcp import linalg as linalg
    from gcp.backbones.factory import create_backbone as create_backbone
    from gcp.backbones.registry import list_backbones as list_backbones
    from gcp.backbones.registry import register_backbone as register_backbone
    from gcp.checkpoints.loading import load_reference_checkpoint as load_reference_checkpoint
    from gcp.errors import GCPError as GCPError
    from gcp.functions import covariance_function as covariance_function
    from gcp.functions import spectral_function as spectral_function
    from gcp.methods import list_methods as list_methods
    from gcp.methods import register_method as register_method
    from gcp.model import create_model as create_model
    from gcp.networks.replace import replace_pooling as replace_pooling
    from gcp.pooling.factory import create_pooling as create_pooling
    from gcp.pretrained import from_pretrained as from_pretrained
    from gcp.replacing import replace_batchnorm as replace_batchnorm
    from gcp.roots.matrix_root import matrix_root as matrix_root
    from gcp.whitening import Whitening as Whitening

__version__ = "0.2.0.dev0"

_HOMES = {
    "GCPError": "gcp.errors",
    "Whitening": "gcp.whitening",
    "covariance_function": "gcp.functions",
    "create_backbone": "gcp.backbones.factory",
    "create_model": "gcp.model",
    "create_pooling": "gcp.pooling.factory",
    "from_pretrained": "gcp.pretrained",
    "list_backbones": "gcp.backbones.registry",
    "list_methods": "gcp.methods",
    "load_reference_checkpoint": "gcp.checkpoints.loading",
    "matrix_root": "gcp.roots.matrix_root",
    "register_backbone": "gcp.backbones.registry",
    "register_method": "gcp.methods",
    "replace_batchnorm": "gcp.replacing",
    "replace_pooling": "gcp.networks.replace",
    "spectral_function": "gcp.functions",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "linalg":
        return import_module("gcp.linalg")
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'gcp' has no attribute '{name}'") from None
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES, "linalg"]
