"""Layers built without memory: shapes on the meta device, and values once a state dict brings them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import gcp
from gcp.methods import METHODS, list_methods
from gcp.options import option_names

LAYERS = {
    f"{name}-{form}": {"name": name, **({} if form == "default" else {"vectorisation": form})}
    for name in list_methods()
    for form in ("default", "isometric", "full")
    if form == "default" or "vectorisation" in option_names(METHODS.get(name).options)
}


def build(layer: dict[str, str], reduced: int | None = None) -> nn.Module:
    torch.manual_seed(0)
    return gcp.create_pooling(in_channels=6, reduced_channels=reduced, **layer).eval()


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_weights_loaded_into_a_layer_without_memory_make_it_whole(layer: dict[str, str]) -> None:
    """What no state dict holds must not be what ``to_empty`` found in memory."""
    expected = build(layer, reduced=4)
    x = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(1))
    with torch.device("meta"):
        emptied, assigned = build(layer, reduced=4), build(layer, reduced=4)
    for buffer in emptied.to_empty(device="cpu").buffers():
        buffer.fill_(1)  # as good as any other junk
    emptied = emptied.to("meta").to_empty(device="cpu")
    emptied.load_state_dict(expected.state_dict())
    assigned.load_state_dict(expected.state_dict(), assign=True)
    for found in (emptied, assigned):
        assert torch.equal(found(x), expected(x))
    assert not any(value.is_meta for value in [*assigned.buffers(), *assigned.parameters()])


@pytest.mark.parametrize("name", list_methods())
def test_shapes_on_the_meta_device(name: str) -> None:
    with torch.device("meta"):
        layer = build({"name": name})
        vector = layer(torch.empty(2, 6, 3, 4, requires_grad=True))
    assert vector.is_meta
    assert vector.shape == (2, layer.out_features)
    vector.sum().backward()


def test_whitening_and_whole_networks_on_the_meta_device() -> None:
    with torch.device("meta"):
        network = gcp.create_model("tiny", "pade", num_classes=3, reduced_channels=8)
        whitening = gcp.Whitening(6)
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 3)
        assert whitening(torch.empty(8, 6)).shape == whitening.eval()(torch.empty(8, 6)).shape == (8, 6)
        assert gcp.spectral_function(torch.empty(2, 4, 4)).shape == gcp.matrix_root(torch.empty(2, 4, 4)).shape
    expected = gcp.create_model("tiny", "pade", num_classes=3, reduced_channels=8).eval()
    network.to_empty(device="cpu").load_state_dict(expected.state_dict())
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(network.eval()(x), expected(x))
