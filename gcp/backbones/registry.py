"""The table of backbones: for each name its options and its builder. Free of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gcp.options import Options, check_options, option
from gcp.registry import Registry, check_target


@dataclass(frozen=True)
class BackboneInfo:
    """What the registry knows of a backbone.

    Attributes:
        name: the key users write.
        options: dataclass of the constructor arguments.
        build: ``build(info, options)`` gives an ``nn.Module`` with ``num_features``; or "module:attribute".
        summary: one line for ``--help``.
        source: the paper.
        hidden: widths of the classifier's hidden layers in networks trained from scratch.
        dropout: probability of dropout after each of them; None: no dropout.
    """

    name: str
    options: type[Options]
    build: str | Callable[..., Any]
    summary: str
    source: str
    hidden: tuple[int, ...] = ()
    dropout: float | None = None

    def default_hidden(self, weights: str | None) -> tuple[int, ...]:
        """Hidden layers of the classifier: no hidden layers on top of pretrained ``weights``, as in the reference."""
        return self.hidden if weights is None else ()


@dataclass(frozen=True)
class BackboneOptions(Options):
    """Options of every backbone of this project; the built module is a `gcp.backbones.feature_map.Freezable`."""

    frozen: int | str = option(
        0,
        "children, from the images on, that are not trained, batch norm included; or the name of the last one: layer2, "
        "blocks.3",
        minimum=0,
    )
    whitening: str | None = option(
        None,
        "first: whiten, in the place of the first batch norm, the one behind the first convolution; null: nowhere",
        choices=("first",),
    )


@dataclass(frozen=True)
class UnpublishedOptions(BackboneOptions):
    """Options of backbones that nobody has published weights for."""

    weights: str | None = option(
        None, "a run directory, checkpoint or network's folder of this project to start from; null: random"
    )


@dataclass(frozen=True)
class TinyOptions(UnpublishedOptions):
    """Options of `tiny`."""

    width: int = option(64, "channels of the feature map, a multiple of 4", minimum=4)


@dataclass(frozen=True)
class TorchvisionOptions(BackboneOptions):
    """Options of the backbones torchvision has weights for."""

    weights: str | None = option(
        None,
        "a name of torchvision's weights, such as DEFAULT or IMAGENET1K_V2, a file, or a run directory or network's "
        "folder of this project; null: random",
    )


@dataclass(frozen=True)
class ResNetOptions(TorchvisionOptions):
    """Options of ResNets, ResNeXts and Wide ResNets."""

    last_stride: int = option(2, "stride of the last stage; 1 keeps a map twice as high and wide", choices=(1, 2))


@dataclass(frozen=True)
class TimmOptions(BackboneOptions):
    """Options of `timm`."""

    model: str = option("convnext_tiny", "a name of timm's list_models()")
    weights: str | None = option(
        None,
        "a file of the model's weights (.safetensors, .pth), a run directory or network's folder of this project, or "
        "package: those of the extra pretrained, for tf_efficientnet_lite0; null: random",
    )


BACKBONES: Registry[BackboneInfo] = Registry("backbone")


def register_backbone(
    name: str,
    build: str | Callable[..., Any],
    *,
    options: type[Options] = Options,
    summary: str = "",
    source: str = "",
    hidden: tuple[int, ...] = (),
    dropout: float | None = None,
) -> BackboneInfo:
    """Add a backbone, see BackboneInfo. Raises as `gcp.methods.register_method`.

    >>> def build(info, options):
    ...     from gcp.backbones.tiny import build as build_tiny
    ...     return build_tiny(info, TinyOptions(width=8))
    >>> register_backbone("narrow", build, summary="tiny, with 8 channels").name
    'narrow'
    """
    check_target("build", build)
    check_options(options)
    return BACKBONES.register(name, BackboneInfo(name, options, build, summary, source, hidden, dropout))


def list_backbones() -> list[str]:
    """Names of all backbones.

    >>> "resnet50" in list_backbones()
    True
    """
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
    options=UnpublishedOptions,
    summary="AlexNet with batch norm, without the last pooling: 13x13 at 224 px",
    source="Krizhevsky et al., NeurIPS 2012; MPN-COV, Li et al., ICCV 2017 (arXiv 1703.08050)",
    hidden=(4096, 4096),
)
for _depth in (11, 13, 16, 19):
    for _suffix, _with in (("", "without"), ("_bn", "with")):
        register_backbone(
            f"vgg{_depth}{_suffix}",
            "gcp.backbones.vgg:build",
            options=TorchvisionOptions,
            summary=f"VGG-{_depth} {_with} batch norm, without the last pooling, stride 16",
            source="Simonyan and Zisserman, ICLR 2015 (arXiv 1409.1556)",
            hidden=(4096, 4096),
            dropout=0.5,
        )
_HE, _XIE = "He et al., CVPR 2016 (arXiv 1512.03385)", "Xie et al., CVPR 2017 (arXiv 1611.05431)"
_ZAGORUYKO = "Zagoruyko and Komodakis, BMVC 2016 (arXiv 1605.07146)"
for _name, _title, _source in (
    *((f"resnet{_depth}", f"ResNet-{_depth}", _HE) for _depth in (18, 34, 50, 101, 152)),
    *(
        (f"resnext{_size}", f"ResNeXt-{_size.replace('_', ' ')}", _XIE)
        for _size in ("50_32x4d", "101_32x8d", "101_64x4d")
    ),
    *((f"wide_resnet{_depth}_2", f"Wide ResNet-{_depth}-2", _ZAGORUYKO) for _depth in (50, 101)),
):
    register_backbone(
        _name,
        "gcp.backbones.torchvision_networks:resnet",
        options=ResNetOptions,
        summary=f"torchvision's {_title}, stride 32",
        source=_source,
    )
for _depth in (121, 161, 169, 201):
    register_backbone(
        f"densenet{_depth}",
        "gcp.backbones.torchvision_networks:densenet",
        options=TorchvisionOptions,
        summary=f"torchvision's DenseNet-{_depth} with a final ReLU, stride 32",
        source="Huang et al., CVPR 2017 (arXiv 1608.06993)",
    )
register_backbone(
    "inception_v3",
    "gcp.backbones.torchvision_networks:inception",
    options=TorchvisionOptions,
    summary="torchvision's Inception v3 without its auxiliary head: 8x8 at 299 px",
    source="Szegedy et al., CVPR 2016 (arXiv 1512.00567)",
)
register_backbone(
    "timm",
    "gcp.backbones.timm_model:build",
    options=TimmOptions,
    summary="any model of timm that gives a feature map or tokens; needs the extra timm",
    source="Wightman, pytorch-image-models (doi 10.5281/zenodo.4414861)",
)
