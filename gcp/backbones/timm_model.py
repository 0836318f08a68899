"""Models of timm (pytorch-image-models) as backbones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gcp.backbones.feature_map import Freezable
from gcp.backbones.packages import PACKAGE, packaged_file
from gcp.backbones.registry import BackboneInfo, TimmOptions
from gcp.backbones.tokens import has_class_token, split_output
from gcp.backbones.weights import load_in_order, load_matching, read_weights
from gcp.errors import MissingDependencyError, ShapeError, UnknownNameError, WeightsError
from gcp.registry import nearest

# Children after the feature map, beside the one timm names as classifier; a norm in a head is not one of the map.
HEAD = ("head", "head_dist", "fc", "fc_norm", "classifier")
# Children that hold the stages of the model, or its blocks, in sequence.
STAGES = ("blocks", "stages", "layers")
# In models whose pooled vector is wider than the map these widen it.
WIDENING = ("conv_head", "norm_head")


class TimmFeatureMap(Freezable):
    """The feature map of a timm model: (B, 3, H, W) to (B, num_features, H', W').

    Channels-last maps are turned round; tokens become a map of their patches, without class and register tokens. The
    class token is given beside the map by `with_class_token`.

    Attributes:
        network: timm's model, its head replaced by the identity.
        num_features: channels of the feature map.
        has_class_token: whether the model has one, the first of its tokens.

    Raises, when called, ShapeError: images of a size the model does not take, or an output that is no map.
    """

    def __init__(self, network: Any, name: str) -> None:
        super().__init__()
        self.network = network
        self.name = name
        self.num_features: int = network.num_features
        self.has_class_token = has_class_token(network)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, num_features, H', W')."""
        return self._map(self._output(images), images)

    def with_class_token(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) to the map (B, num_features, H', W') and the class token (B, num_features) of one pass."""
        output = self._output(images)
        return self._map(output, images), output[:, 0]

    def _output(self, images: Tensor) -> Tensor:
        """What timm's model gives before its head."""
        height, width = images.shape[2:]
        try:
            output: Tensor = self.network.forward_features(images)
        except AssertionError as error:
            raise ShapeError(f"{self.name} does not take images of {height}x{width}: {error}") from None
        return output

    def _map(self, output: Tensor, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        output, _ = split_output(self.network, output)
        if output.ndim == 3:
            output = tokens_to_map(output.mT, height / width)
        if output.ndim != 4 or output.shape[1] != self.num_features:
            raise ShapeError(
                f"{self.name} gives {tuple(output.shape)}, no feature map of {self.num_features} channels; "
                "choose another model"
            )
        return output

    def named_stages(self) -> Iterator[tuple[str, nn.Module]]:
        """The children of timm's model."""
        children: Iterator[tuple[str, nn.Module]] = self.network.named_children()
        return children

    def _depths(self) -> Iterator[tuple[str, nn.Module]]:
        """Its children, and those of the one that holds its stages or blocks."""
        for name, child in self.named_stages():
            if name in STAGES and isinstance(child, (nn.Sequential, nn.ModuleList)):
                yield from ((f"{name}.{inner}", stage) for inner, stage in child.named_children())
            else:
                yield name, child


def tokens_to_map(tokens: Tensor, aspect: float) -> Tensor:
    """Patch tokens, row after row, as a map: (B, H' W', C) to (B, C, H', W').

    Args:
        tokens: (B, H' W', C).
        aspect: height of the images over their width, from which H' follows.

    Raises ShapeError if no grid of that aspect has so many patches.
    """
    count = tokens.shape[1]
    height = max(1, round(math.sqrt(count * aspect)))
    if count % height:
        raise ShapeError(f"{count} tokens make no map of {height} rows; use images whose sides are whole patches")
    return tokens.mT.reshape(tokens.shape[0], -1, height, count // height)


def build(info: BackboneInfo, options: TimmOptions) -> TimmFeatureMap:
    """timm's model without its head, with random weights or those of a local file or an installed package.

    Raises:
        MissingDependencyError: timm is not installed, or the package of weights.
        UnknownNameError: timm has no such model.
        WeightsError: the file is missing, unreadable or of another model. Nothing is downloaded: without network
            timm tries again for most of a minute.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingDependencyError(
            "the backbone timm needs the extra timm; install it with: pip install '.[timm]'"
        ) from error
    if not timm.is_model(options.model):
        known = timm.list_models()
        raise UnknownNameError(
            f"timm {timm.__version__} has no model '{options.model}'{nearest(options.model, known)}; "
            f"timm.list_models() gives all {len(known)}"
        )
    network = _create(options.model)
    if options.weights == PACKAGE:
        file = packaged_file(options.model)
        load_in_order(network, read_weights(file), str(file))
    head = _remove_head(network)
    if options.weights not in (None, PACKAGE):
        _load(network, options.weights, head)
    return TimmFeatureMap(network, options.model)


def _create(name: str) -> Any:
    """The model; vision transformers in the form that takes images of any size of whole patches."""
    import timm

    try:
        return timm.create_model(name, pretrained=False, dynamic_img_size=True)
    except TypeError:
        return timm.create_model(name, pretrained=False)


def _remove_head(network: Any) -> tuple[str, ...]:
    """Replace what comes after the feature map by the identity; the names of the replaced children."""
    classifier = (network.pretrained_cfg or {}).get("classifier") or ()
    named = {key.split(".")[0] for key in ([classifier] if isinstance(classifier, str) else classifier)}
    if getattr(network, "head_hidden_size", network.num_features) != network.num_features:
        named |= set(WIDENING)
    head = tuple(name for name, _ in network.named_children() if name in named.union(HEAD))
    for name in head:
        setattr(network, name, nn.Identity())
    return head


def _load(network: nn.Module, weights: str, head: tuple[str, ...]) -> None:
    path = Path(weights)
    if not path.is_file():
        config: Any = network.pretrained_cfg
        source = config.get("hf_hub_id") or config.get("url") or "its authors"
        raise WeightsError(
            f"no file {weights}: timm's weights are read from a local file; fetch those of "
            f"{config.get('architecture', 'the model')} from {source} and give the path"
        )
    state = _read(path)
    prefixes = tuple(f"{name}." for name in head)
    load_matching(network, {key: value for key, value in state.items() if not key.startswith(prefixes)}, weights)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        return read_weights(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is no readable safetensors file ({error})") from None
    return tensors
