"""Networks of create_model in others' hands: timm's methods, copies, half precision, memory formats, checkpointing."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import gcp
from gcp.errors import OptionError, PluginError
from gcp.methods import list_methods
from gcp.model import PoolingNetwork


def network(method: str = "pade", **options: object) -> PoolingNetwork:
    torch.manual_seed(0)
    return gcp.create_model("tiny", method, 5, reduced_channels=6, backbone_options={"width": 8}, **options)


def images(batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, 24, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", list_methods())
def test_the_methods_of_timm(method: str) -> None:
    model, x = network(method).eval(), images()
    features = model.forward_features(x)
    vector = model.forward_head(features, pre_logits=True)
    assert features.shape == (4, model.num_features, 3, 3)
    assert vector.shape == (4, model.head_hidden_size)
    assert torch.equal(vector, model.representation(model.features(x)))
    assert torch.equal(model.get_classifier()(vector), model.forward_head(features))
    assert torch.equal(model.forward_head(features), model(x))
    model.reset_classifier(3)
    assert (model.num_classes, model(x).shape) == (3, (4, 3))


@pytest.mark.parametrize("method", list_methods())
def test_copies_of_every_kind(method: str) -> None:
    """Deep copy, pickle, and a network built without memory that a state dict fills."""
    model, x = network(method).eval(), images()
    with torch.device("meta"):
        empty = network(method)
    empty.load_state_dict(model.state_dict(), assign=True)
    expected = model(x)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), empty.eval()):
        assert torch.equal(again(x), expected)
        assert all(a is not b for a, b in zip(model.modules(), again.modules(), strict=True))


@pytest.mark.parametrize("method", list_methods())
def test_half_precision_and_channels_last(method: str) -> None:
    model, x = network(method).eval(), images()
    with torch.no_grad():
        expected = model(x)
        last = copy.deepcopy(model).to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        torch.testing.assert_close(last, expected, rtol=1e-3, atol=1e-4)  # the sums of convolutions in another order
        half = model.half()(x.half())
    assert half.dtype == torch.float16
    # 2^-11 of rounding at each of four layers, and small eigenvalues' roots feel it by its root
    torch.testing.assert_close(half.float(), expected, rtol=0.1, atol=0.1 * float(expected.abs().max()))


@pytest.mark.parametrize("method", list_methods())
def test_activation_checkpointing(method: str) -> None:
    """What is computed a second time in the backward is the same, dropped channels too."""
    once, again, x = network(method), network(method), images()
    for model, forward in ((once, once), (again, lambda x: checkpoint(again, x, use_reentrant=False))):
        torch.manual_seed(2)
        forward(x).square().sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
    for a, b in zip(once.parameters(), again.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize(("hidden", "width"), [((), 21), ((7, 9), 9)])
def test_hidden_layers_belong_to_what_comes_before_the_last(hidden: tuple[int, ...], width: int) -> None:
    model, x = network(hidden=hidden).eval(), images()
    vector = model.forward_head(model.forward_features(x), pre_logits=True)
    assert vector.shape == (4, model.head_hidden_size) == (4, width)
    assert torch.equal(model.get_classifier()(vector), model(x))
    kept = [each.weight for each in model.classifier.modules() if isinstance(each, nn.Linear)][:-1]
    model.reset_classifier(0)
    assert (model.num_classes, model.head_hidden_size) == (0, width)
    assert torch.equal(model(x), vector)
    model.double().reset_classifier(3)
    assert not any(module.training for module in model.modules())
    assert model(x.double()).dtype == torch.float64
    after = [each.weight for each in model.classifier.modules() if isinstance(each, nn.Linear)]
    assert after[-1].shape == (3, width)
    assert all(a is b for a, b in zip(kept, after, strict=False))


@pytest.mark.parametrize("hidden", [(), (7,)])
@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_class_tokens(fusion: str, hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = gcp.create_model("timm", "pade", 5, reduced_channels=4, backbone_options={"model": "test_vit"},
                             class_token=fusion, hidden=hidden).eval()  # fmt: skip
    x = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    features = model.forward_features(x)
    vector = model.forward_head(features, pre_logits=True)
    assert vector.shape == (2, model.head_hidden_size)
    assert torch.equal(model.get_classifier()(vector), model(x))
    model.reset_classifier(0)
    assert torch.isin(features[1], model(x)).all() or (fusion, hidden) == ("concat", (7,))
    model.reset_classifier(3)
    assert model(x).shape == (2, 3)


def test_what_is_refused() -> None:
    model = network()
    with pytest.raises(OptionError, match="num_classes must be at least 0, got -1"):
        model.reset_classifier(-1)
    with pytest.raises(OptionError, match="num_classes must be an integer, got '3'"):
        model.reset_classifier("3")
    model.classifier = nn.Conv2d(3, 3, 1)
    with pytest.raises(OptionError, match="ends with Conv2d, no linear layer"):
        model.reset_classifier(3)
    with pytest.raises(PluginError, match="the backbone must have the attribute num_features"):
        PoolingNetwork(nn.Identity(), nn.Identity(), nn.Linear(2, 2)).num_features  # noqa: B018
