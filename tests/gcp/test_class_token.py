"""The class token beside the pooled patches: logits against an explicit loop, for every pooling; refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import gcp
from gcp.errors import OptionError
from gcp.methods import list_methods
from gcp.model import PoolingNetwork
from tests.slow import slow_unless


def network(fusion: str | None, method: str = "pade", model: str = "test_vit", **options: object) -> PoolingNetwork:
    torch.manual_seed(0)
    built = gcp.create_model(
        "timm", method, 5, reduced_channels=4, backbone_options={"model": model}, class_token=fusion, **options
    )
    return built.eval()


def images(size: int = 48) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def by_loop(model: PoolingNetwork, x: Tensor, fusion: str, prefix: int) -> Tensor:
    """Image by image, class by class, from timm's own tokens."""
    logits = torch.empty(len(x), 5)
    for sample in range(len(x)):
        tokens = model.features.network.forward_features(x[sample : sample + 1])[0]  # type: ignore[operator, union-attr]
        side = round((len(tokens) - prefix) ** 0.5)
        pooled = model.representation(tokens[prefix:].T.reshape(1, -1, side, side))[0]
        state = {key.removeprefix("classifier."): value for key, value in model.state_dict().items()}
        for label in range(5):
            if fusion == "sum":
                parts = [("pooled", pooled), ("token", tokens[0])]
            else:
                parts = [("joint", torch.cat([pooled, tokens[0]]))]
            logits[sample, label] = sum(
                (state[f"{name}.weight"][label] * vector).sum() + state[f"{name}.bias"][label] for name, vector in parts
            )
    return logits


@pytest.mark.parametrize("fusion", ["sum", "concat"])
@pytest.mark.parametrize(
    ("model", "prefix"),
    [("test_vit", 1), *(pytest.param(*each, marks=pytest.mark.slow) for each in (
        ("vit_tiny_patch16_224", 1), ("deit_tiny_patch16_224", 1), ("deit_tiny_distilled_patch16_224", 2)))],
)  # fmt: skip
def test_logits_are_an_explicit_loop(model: str, prefix: int, fusion: str) -> None:
    built = network(fusion, model=model)
    with torch.no_grad():
        found, expected = built(images()), by_loop(built, images(), fusion, prefix)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)  # float32, image by image and in another order


@pytest.mark.parametrize("method", slow_unless(("pade", "isqrt", "cross_covariance"), list_methods()))
def test_for_every_pooling(method: str) -> None:
    """The token has its share of the logits and its gradient; a state dict brings the classifier back."""
    built, plain = network("sum", method), network(None, method)
    logits = built(images())
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in built.classifier.parameters())
    plain.features.load_state_dict(built.features.state_dict())
    plain.representation.load_state_dict(built.representation.state_dict())
    plain.classifier.load_state_dict(built.classifier.pooled.state_dict())  # type: ignore[union-attr]
    _, token = built.features.with_class_token(images())  # type: ignore[operator]
    assert torch.allclose(logits, plain(images()) + built.classifier.token(token), atol=1e-5)  # type: ignore[operator]
    again = network("sum", method)
    again.load_state_dict(built.state_dict())
    assert torch.equal(again(images()), logits)


def test_without_it_nothing_has_changed() -> None:
    plain = network(None)
    assert isinstance(plain.classifier, torch.nn.Linear)
    assert {key for key in plain.state_dict() if key.startswith("classifier")} == {
        "classifier.weight",
        "classifier.bias",
    }
    features, token = plain.features.with_class_token(images())  # type: ignore[operator]
    assert torch.equal(features, plain.features(images()))
    assert token.shape == (2, 64)


def test_hidden_layers_are_those_of_the_patches_or_of_both() -> None:
    assert [layer.in_features for layer in network("sum", hidden=[7]).classifier.modules()
            if isinstance(layer, torch.nn.Linear)] == [10, 7, 64]  # fmt: skip
    assert network("concat", hidden=[7]).classifier.joint[0].in_features == 10 + 64  # type: ignore[union-attr, index]


@pytest.mark.parametrize(
    ("backbone", "options", "name"),
    [
        ("tiny", {}, "tiny"),
        ("timm", {"model": "test_convnext"}, "test_convnext"),
        pytest.param("timm", {"model": "swin_tiny_patch4_window7_224"}, "swin_tiny_patch4_window7_224",
                     marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_backbone_without_one_is_refused(backbone: str, options: dict[str, object], name: str) -> None:
    with pytest.raises(OptionError, match=rf"the backbone {name} has no class token to add \(class_token=sum\)"):
        gcp.create_model(backbone, "pade", 5, backbone_options=options, class_token="sum")


def test_another_word_is_refused() -> None:
    with pytest.raises(OptionError, match=r"class_token must be None or one of sum, concat, got 'sums' .*'sum'"):
        network("sums")
