"""gcp.replace_batchnorm: what is replaced, what is taken over, what is refused and why."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import gcp
from gcp import Whitening
from gcp.errors import OptionError


def network() -> nn.Sequential:
    """Trained a little, so that statistics, scales and shifts are no defaults."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4))
    with torch.no_grad():
        for layer in (model[1], model[4]):
            layer.weight.uniform_(0.5, 2)
            layer.bias.normal_()
        model(torch.randn(16, 3, 9, 9))
    return model


@pytest.mark.parametrize(
    ("which", "names"), [("first", ["1"]), ("all", ["1", "4"]), ("4", ["4"]), (["4", "1"], ["4", "1"])]
)
def test_in_eval_the_network_stays_what_it_was(which, names):
    model, images = network().eval(), torch.randn(2, 3, 9, 9)
    before = model(images)
    replaced = gcp.replace_batchnorm(model, which)
    assert list(replaced) == names
    assert all(model.get_submodule(name) is layer for name, layer in replaced.items())
    assert sum(isinstance(layer, Whitening) for layer in model) == len(names)
    torch.testing.assert_close(model(images), before)


def test_what_is_taken_over_and_what_is_given():
    model = network().double()
    model[1].momentum, model[1].eps = None, 1e-3
    model[1].weight.requires_grad_(False)
    (layer,) = gcp.replace_batchnorm(model, group_size=4, method="taylor", degree=20).values()
    assert (layer.groups, layer.method, layer.momentum, layer.eps) == (2, "taylor", None, 1e-3)
    assert layer.running_covariance.dtype == torch.float64
    assert layer.training
    assert (layer.weight.requires_grad, layer.bias.requires_grad) == (False, True)
    model(torch.randn(8, 3, 9, 9, dtype=torch.float64)).square().mean().backward()
    assert model[0].weight.grad.isfinite().all()
    other = network()
    (layer,) = gcp.replace_batchnorm(other, eps=0.1, relative=True, sync=True).values()
    assert (layer.eps, layer.prepared.function.relative, layer.sync) == (0.1, True, True)


def test_a_layer_in_two_places_is_one_layer_afterwards():
    norm = nn.BatchNorm1d(4)
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(4, 4), norm), "b": nn.Sequential(norm), "c": norm})
    (layer,) = gcp.replace_batchnorm(model, "all").values()
    assert model["a"][1] is model["b"][0] is model["c"] is layer


@pytest.mark.parametrize("track", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_every_kind_of_batch_norm(affine, track):
    arguments = {"affine": affine, "track_running_stats": track}
    for kind, shape in ((nn.BatchNorm1d, (8, 4)), (nn.BatchNorm2d, (8, 4, 2, 2)), (nn.BatchNorm3d, (8, 4, 2, 2, 2))):
        model = nn.Sequential(kind(4, **arguments))
        (layer,) = gcp.replace_batchnorm(model).values()
        assert (layer.affine, layer.track_running_stats) == (affine, track)
        assert model(torch.randn(shape)).isfinite().all()
    model = nn.Sequential(nn.SyncBatchNorm(4, **arguments))
    assert next(iter(gcp.replace_batchnorm(model).values())).sync


class NormWithReLU(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


@pytest.mark.parametrize(
    ("model", "arguments", "says"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), {}, "Sequential has no batch normalisation .* LayerNorm"),
        (nn.Linear(2, 2), {}, "no normalisation that is a module"),
        (nn.BatchNorm2d(4), {}, "the model is itself the BatchNorm2d"),
        (nn.Sequential(NormWithReLU(4)), {}, "'0' is a NormWithReLU, which may do more than normalise"),
        (nn.Sequential(nn.LazyBatchNorm2d()), {}, "is a LazyBatchNorm2d"),
        (nn.Sequential(Whitening(4)), {}, "'0' whitens already"),
        (nn.Sequential(nn.BatchNorm2d(6)), {"group_size": 4}, "must divide the channels, got 4 for the 6 of '0'"),
        (network(), {"which": "0"}, "'0' is no batch normalisation but Conv2d"),
        (network(), {"which": "frist"}, r"which must be first, all or names .* no layer 'frist'"),
        (network(), {"affine": False}, "affine is taken over from the layer '1'"),
        (network(), {"degree": 5}, "no option 'degree'"),
        (network(), {"which": "all", "method": "topn", "n": 7}, "cannot keep n=7"),  # of the second layer's 4 channels
    ],
)
def test_what_is_refused_and_that_nothing_is_replaced_then(model, arguments, says):
    before = list(model.modules())
    with pytest.raises(OptionError, match=says):
        gcp.replace_batchnorm(model, **arguments)
    assert all(a is b for a, b in zip(before, model.modules(), strict=True))
