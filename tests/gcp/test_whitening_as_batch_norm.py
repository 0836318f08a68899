"""Whitening where batch normalisation was: arguments, memory formats, the kept matrix, torch's tools for it."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

import gcp
from gcp import GCPError, Whitening
from gcp.fixed_whitening import FixedWhitening, fix_whitening
from gcp.kept_function import KeptFunction
from tests.gcp.test_whitening import mixed


def trained(**options) -> Whitening:
    """In eval mode, with running statistics that are no identity."""
    layer = Whitening(6, momentum=None, **options)
    layer(mixed(32, 6).float())
    return layer.eval()


def expected(layer: Whitening, x: Tensor) -> Tensor:
    """By the definition, from the running statistics as they are now; without groups and gains."""
    (covariance,) = layer.running_covariance.to(x.dtype)
    return (x - layer.running_mean.to(x.dtype)) @ gcp.spectral_function(covariance, "inverse_sqrt", eps=layer.eps)


def test_arguments_of_batch_norm():
    layer = Whitening(4, 1e-3, 0.2, False, True, device="meta", dtype=torch.float64)
    assert (layer.eps, layer.momentum, layer.weight) == (1e-3, 0.2, None)
    assert {(each.device.type, each.dtype) for each in (layer.running_mean, layer.running_covariance)} == {
        ("meta", torch.float64)
    }
    half = Whitening(4, dtype=torch.bfloat16)
    assert (half.weight.dtype, half.running_covariance.dtype) == (torch.bfloat16, torch.float32)
    assert "sync=True" in repr(Whitening(4, sync=True))
    assert isinstance(half, nn.modules.batchnorm._BatchNorm)
    with pytest.raises(AttributeError, match="running_var"):  # not turned into another layer without a word
        nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(layer))


def test_eps_may_be_set_as_that_of_batch_norm():
    layer, x = trained(), mixed(4, 6).float()
    layer(x)
    layer.eps = 0.5
    torch.testing.assert_close(layer(x), expected(layer, x))
    with pytest.raises(gcp.GCPError, match="eps must be greater than 0"):
        layer.eps = 0.0


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((5, 6), torch.contiguous_format),
        ((5, 6, 4), torch.contiguous_format),
        ((5, 6, 4, 3), torch.contiguous_format),
        ((5, 6, 4, 3), torch.channels_last),
        ((5, 6, 2, 4, 3), torch.contiguous_format),
        ((5, 6, 2, 4, 3), torch.channels_last_3d),
    ],
)
def test_output_has_the_memory_format_of_the_input(shape, layout, training):
    x = mixed(*shape).float().contiguous(memory_format=layout)
    for layer in (Whitening(6, groups=2), Whitening(6, affine=False), FixedWhitening(trained())):
        y = layer.train(training)(x)
        assert y.shape == x.shape
        assert y.is_contiguous(memory_format=layout)
        assert y.stride() == x.stride()


def test_clips_are_whitened_as_the_same_values_in_a_row():
    x = mixed(5, 6, 2, 4, 3)
    flat = Whitening(6).double()(x.flatten(2))
    torch.testing.assert_close(Whitening(6).double()(x), flat.view_as(x))


def count_functions(call: Callable[[], object]) -> int:
    """How often ``call`` computes a function of a matrix to keep it."""
    with mock.patch.object(KeptFunction, "of", side_effect=KeptFunction.of) as of:
        call()
    return of.call_count


def test_the_matrix_is_computed_once_in_eval():
    layer, x = trained(), mixed(4, 6).float()
    first = layer(x)
    assert count_functions(lambda: layer(x)) == 0
    assert torch.equal(layer(x), first)
    assert count_functions(lambda: layer(x.double())) == 1  # another precision
    torch.testing.assert_close(first, expected(layer, x))
    assert "_kept" not in layer.__getstate__()
    assert set(layer.state_dict()) == {"weight", "bias", "running_mean", "running_covariance", "num_batches_tracked"}


def _step(layer: Whitening) -> None:
    layer.train()
    layer(mixed(32, 6, seed=5).float())
    layer.eval()


def _update_bn(layer: Whitening) -> None:
    update_bn([mixed(32, 6, seed=seed).float() for seed in (7, 8)], nn.Sequential(layer).eval())


def _load(layer: Whitening, assign: bool = False) -> None:
    other = trained(affine=False)
    _step(other)
    layer.load_state_dict(other.state_dict(), assign=assign)


def _averaged(layer: Whitening) -> None:
    """As Lightning's WeightAveraging swaps weights, and as torch's AveragedModel updates buffers."""
    layer.running_covariance.data.copy_(2 * layer.running_covariance.data)
    layer.running_mean.detach().copy_(2 * layer.running_mean)


CHANGES: dict[str, Callable[[Whitening], object]] = {
    "training step": _step,
    "update_bn": _update_bn,
    "load_state_dict": _load,
    "load_state_dict, assigned": lambda layer: _load(layer, assign=True),
    "reset_running_stats": lambda layer: layer.reset_running_stats(),
    "written through .data": _averaged,
    "in inference mode": lambda layer: layer.running_covariance.mul_(3),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_kept_matrix_is_never_stale(change):
    layer, x = trained(affine=False), mixed(4, 6).float()
    with torch.inference_mode():
        before = layer(x)
    with torch.no_grad():
        change(layer)
    assert not layer.training
    after = layer(x)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, expected(layer, x))
    layer(x.requires_grad_()).sum().backward()  # what inference mode kept takes part in gradients
    assert x.grad.isfinite().all()


def test_other_types_have_a_matrix_of_their_own():
    layer, x = trained(), mixed(4, 6)
    before = layer(x.float())
    assert layer(x).dtype == torch.float64
    torch.testing.assert_close(layer.double()(x), expected(layer, x))
    assert torch.equal(layer.float()(x.float()), before)
    torch.testing.assert_close(layer.half()(x.float()), before)  # whose statistics stay in float32


@pytest.mark.parametrize("other", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_and_pickles_have_a_matrix_of_their_own(other):
    layer, x = trained(), mixed(4, 6).float()
    before = layer(x)
    twin = other(layer)
    assert torch.equal(twin(x), before)
    _step(twin)
    assert torch.equal(layer(x), before)
    torch.testing.assert_close(twin(x), expected(twin, x))


def test_a_module_pickled_by_an_earlier_version_works():
    """It had eps as an attribute, and neither sync nor a kept matrix."""
    layer, x = trained(), mixed(4, 6).float()
    before = layer(x)
    del layer.__dict__["sync"]
    layer.__dict__["eps"] = 1e-5
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    old = torch.load(buffer, weights_only=False)
    assert torch.equal(old(x), before)
    old.train()(x)


def test_other_statistics_by_functional_call_and_vmap():
    layer, x = trained(affine=False), mixed(4, 6).float()
    layer(x)
    states = [{name: scale * value for name, value in layer.named_buffers()} for scale in (1, 3)]
    each = torch.stack([torch.func.functional_call(layer, state, x) for state in states])
    assert not torch.allclose(each[0], each[1])
    torch.testing.assert_close(each[0], layer(x))
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    together = torch.func.vmap(lambda state: torch.func.functional_call(layer, state, x))(stacked)
    torch.testing.assert_close(together, each)
    torch.testing.assert_close(layer(x), each[0])


def test_update_bn_gives_the_mean_over_batches():
    batches = [mixed(32, 6, seed=seed) for seed in range(3)]
    network = nn.Sequential(Whitening(6).double())
    averaged = AveragedModel(network)
    update_bn(batches, averaged)
    layer = averaged.module[0]
    unbiased = [torch.cov(batch.T) for batch in batches]
    torch.testing.assert_close(layer.running_covariance[0], sum(unbiased) / 3)
    assert layer.momentum == 0.1
    assert int(layer.num_batches_tracked) == 3


def test_compiled_in_eval_it_follows_its_statistics():
    layer, x = trained(affine=False), mixed(4, 6).float()
    compiled = torch.compile(layer, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected(layer, x))
    with torch.no_grad():
        layer.running_covariance.mul_(3)
    torch.testing.assert_close(compiled(x), expected(layer, x))
    fixed = torch.compile(FixedWhitening(layer), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(fixed(x), expected(layer, x))


def test_a_fixed_layer_gives_the_same_and_exports_by_itself():
    network = nn.Sequential(nn.Conv2d(3, 6, 3), Whitening(6, groups=2), nn.ReLU()).double()
    for seed in range(3):
        network(mixed(4, 3, 6, 6, seed=seed))
    network.eval()
    x = mixed(4, 3, 6, 6)
    before = network(x)
    fix_whitening(network)
    assert not any(isinstance(each, Whitening) for each in network.modules())
    torch.testing.assert_close(network(x), before)
    program = torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(program.module()(x[:3]), before[:3])
    called = {str(node.target) for each in program.graph_module.modules() for node in each.graph.nodes}
    assert "aten.matmul.default" in called
    assert not [name for name in called if "linalg" in name]


def test_torchs_conversion_for_several_processes_says_what_to_do():
    """It would put a batch normalisation in the place of the whitening."""
    network = nn.Sequential(nn.Conv2d(3, 6, 3), Whitening(6), nn.ReLU())
    with pytest.raises(GCPError, match="set sync=True"):
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    assert isinstance(network[1], Whitening)
    assert not hasattr(network[1], "running_var")
