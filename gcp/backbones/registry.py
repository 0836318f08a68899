"""The table of backbones: for each name its options and its builder. Free of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gcp.options import Options, option
from gcp.registry import Registry


@dataclass(frozen=True)
class BackboneInfo:
    """What the registry knows of a backbone.

    Attributes:
        name: the key users write.
        options: dataclass of the constructor arguments.
        build: ``build(info, options)`` gives an ``nn.Module`` with ``num_features``; or "module:attribute".
        summary: one line for ``--help``.
        source: the paper.
    """

    name: str
    options: type[Options]
    build: str | Callable[..., Any]
    summary: str
    source: str


@dataclass(frozen=True)
class TinyOptions(Options):
    """Options of `tiny`."""

    width: int = option(64, "channels of the feature map, a multiple of 4", minimum=4)


@dataclass(frozen=True)
class AlexNetOptions(Options):
    """AlexNet with batch norm has nothing to set, and no published weights."""


@dataclass(frozen=True)
class ResNetOptions(Options):
    """Options of the ResNets."""

    last_stride: int = option(2, "stride of the last stage; 1 keeps a map twice as high and wide", choices=(1, 2))
    weights: str | None = option(
        None, "a name of torchvision's weights, such as DEFAULT or IMAGENET1K_V2; none: random"
    )


BACKBONES: Registry[BackboneInfo] = Registry("backbone")


def register_backbone(
    name: str,
    build: str | Callable[..., Any],
    *,
    options: type[Options] = Options,
    summary: str = "",
    source: str = "",
) -> BackboneInfo:
    """Add a backbone. See BackboneInfo."""
    return BACKBONES.register(name, BackboneInfo(name, options, build, summary, source))


def list_backbones() -> list[str]:
    """Names of all backbones."""
    return BACKBONES.names()


register_backbone(
    "tiny",
    "gcp.backbones.tiny:build",
    options=TinyOptions,
    summary="three convolutions, stride 8, for small images and for tests",
    source="this project",
)
register_backbone(
    "alexnet",
    "gcp.backbones.alexnet:build",
    options=AlexNetOptions,
    summary="AlexNet with batch norm, without the last pooling: 13x13 at 224 px",
    source="Krizhevsky et al., NeurIPS 2012; MPN-COV, Li et al., ICCV 2017 (arXiv 1703.08050)",
)
for _depth in (18, 34, 50, 101, 152):
    register_backbone(
        f"resnet{_depth}",
        "gcp.backbones.resnet:build",
        options=ResNetOptions,
        summary=f"torchvision's ResNet-{_depth}, stride 32",
        source="He et al., CVPR 2016 (arXiv 1512.03385)",
    )
