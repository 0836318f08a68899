"""gcp.replace_pooling: torchvision's and timm's architectures, networks of one's own, and what is refused and why."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision import models

import gcp
from gcp.errors import OptionError, OptionTypeError, ShapeError, UnknownNameError
from tests.slow import slow_unless

# With the smallest images that leave a map of two positions or more; "own": with the average pooling of their own.
TORCHVISION = {
    "resnet18": (64, "own"),
    "vgg11_bn": (64, ""),
    "densenet121": (64, "own"),
    "mobilenet_v2": (64, "own"),
    "mobilenet_v3_small": (64, "own"),
    "efficientnet_b0": (64, "own"),
    "regnet_x_400mf": (64, "own"),
    "shufflenet_v2_x0_5": (64, "own"),
    "mnasnet0_5": (64, "own"),
    "convnext_tiny": (64, ""),
    "swin_t": (64, "own"),
    "vit_b_32": (224, ""),
    "maxvit_t": (224, ""),
}
TIMM = {
    "test_resnet": (64, "own"),
    "test_convnext": (64, ""),
    "test_vit": (160, ""),
    "resnet18": (64, "own"),
    "convnext_atto": (64, ""),
    "vit_tiny_patch16_224": (224, ""),
    "deit_tiny_distilled_patch16_224": (224, ""),
    "swin_tiny_patch4_window7_224": (224, "own"),
    "efficientnet_b0": (64, "own"),
    "mobilenetv3_small_100": (64, ""),
    "densenet121": (64, "own"),
    "regnetx_002": (64, "own"),
    "vgg11": (64, ""),
    "mixer_s32_224": (224, "own"),
    "eva02_tiny_patch14_224": (224, ""),
    "cait_xxs24_224": (224, ""),
    "davit_tiny": (64, ""),
}
NETWORKS = [*(("torchvision", name) for name in TORCHVISION), *(("timm", name) for name in TIMM)]
AVERAGING = [(source, name) for source, name in NETWORKS if {"timm": TIMM, "torchvision": TORCHVISION}[source][name][1]]
FAST = [("torchvision", "mobilenet_v3_small"), ("torchvision", "mobilenet_v2"), ("timm", "test_vit")]
FAST += [("timm", "test_resnet"), ("timm", "test_convnext")]


def network(source: str, name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(name) if source == "timm" else models.get_model(name, weights=None)


def images(source: str, name: str) -> Tensor:
    size = {"timm": TIMM, "torchvision": TORCHVISION}[source][name][0]
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("source", "name"), slow_unless(FAST, NETWORKS))
def test_forward_backward_and_state(source: str, name: str) -> None:
    model, x = network(source, name), images(source, name)
    before = copy.deepcopy(model.state_dict())
    done = gcp.replace_pooling(model, "pade", num_classes=5, reduced_channels=8)

    logits = model.train()(x)
    logits.square().sum().backward()
    assert logits.shape == (2, 5)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert sum(p.grad.abs().sum() for p in [*model.parameters()][:3]) > 0  # the first may be an unused class token

    assert model.get_submodule(done.pooling) is not None
    last = model.get_submodule(done.classifier)
    assert (last.out_features, done.num_classes, done.out_features) == (5, 5, 36)
    assert f"pools {done.channels} channels by pade into 36 numbers" in str(done)
    replaced = (*done.new, *done.removed, *done.moved)
    kept = [key for key in before if not key.startswith(tuple(f"{each}." for each in replaced))]
    state = model.state_dict()
    assert set(kept) <= set(state)
    assert all(torch.equal(state[key], before[key]) for key in kept if "running" not in key and "batches" not in key)

    other = network(source, name, seed=1)
    gcp.replace_pooling(other, "pade", num_classes=5, reduced_channels=8)
    other.load_state_dict(model.state_dict())
    model.eval()
    with torch.no_grad():
        expected = model(x)
        for again in (other.eval(), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(again(x), expected)
            assert type(again) is type(model)


@pytest.mark.parametrize(("source", "name"), slow_unless(FAST, AVERAGING))
def test_average_pooling_in_the_place_of_average_pooling_changes_nothing(source: str, name: str) -> None:
    """The layers are found where they act: with the old classifier's weights the old logits come out."""
    model, x = network(source, name).eval(), images(source, name)
    old = [module for module in model.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        expected = model(x)
        done = gcp.replace_pooling(model, "average")
        read = [model.get_submodule(each) for each in (*done.new, done.classifier)]
        new = [module for module in dict.fromkeys(read) if isinstance(module, nn.Linear)]
        for layer, its_old in zip(reversed(new), reversed(old), strict=False):
            layer.load_state_dict(its_old.state_dict())
        # float32 means in another order
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)


def test_the_methods_of_timm_stay() -> None:
    model, x = network("timm", "test_resnet"), images("timm", "test_resnet")
    gcp.replace_pooling(model, "isqrt", num_classes=5, reduced_channels=8)
    model.eval()
    features = model.forward_features(x)
    vector = model.forward_head(features, pre_logits=True)
    assert (model.num_classes, model.head_hidden_size, vector.shape) == (5, 36, (2, 36))
    assert torch.equal(model.get_classifier()(vector), model(x))
    model.reset_classifier(3)
    assert (model.num_classes, model(x).shape) == (3, (2, 3))
    model.reset_classifier(0)
    assert torch.equal(model(x), vector)
    model.reset_classifier(4)
    assert model(x).shape == (2, 4)
    with pytest.raises(OptionError, match="global_pool must be None, got 'avg'"):
        model.reset_classifier(5, "avg")
    assert isinstance(model, timm.models.resnet.ResNet)


@pytest.mark.parametrize(("source", "name"), slow_unless([("timm", "test_resnet")], FAST))
def test_half_precision_channels_last_and_checkpointing(source: str, name: str) -> None:
    model, x = network(source, name), images(source, name)
    gcp.replace_pooling(model, "isqrt", num_classes=5, reduced_channels=8)
    again = copy.deepcopy(model)
    for forward in (model, lambda x: checkpoint(again, x, use_reentrant=False)):
        torch.manual_seed(2)  # some have dropout
        forward(x).square().sum().backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    with torch.no_grad():
        expected = model.eval()(x)
        again.eval().to(memory_format=torch.channels_last)
        again.load_state_dict(model.state_dict())  # the recomputation counted its batch twice
        last = again(x.to(memory_format=torch.channels_last))
        torch.testing.assert_close(last, expected, rtol=1e-3, atol=1e-3)  # sums of convolutions in another order
        half = model.half()(x.half())
    assert half.dtype == torch.float16
    assert half.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize(("source", "name"), FAST)
def test_compiled_in_one_graph_and_exported(source: str, name: str) -> None:
    model, x = network(source, name), images(source, name)
    gcp.replace_pooling(model, "pade", num_classes=5, reduced_channels=8)
    model.eval()
    with torch.no_grad():
        expected = model(x)
        assert torch.equal(torch.compile(model, backend="aot_eager", fullgraph=True)(x), expected)
        assert torch.equal(torch.export.export(model, (x,)).module()(x), expected)


@pytest.mark.parametrize("fusion", ["sum", "concat"])
@pytest.mark.parametrize(
    ("source", "name", "width"), [("timm", "test_vit", 64), pytest.param("torchvision", "vit_b_32", 768,
                                                                        marks=pytest.mark.slow)]
)  # fmt: skip
def test_class_tokens(source: str, name: str, width: int, fusion: str) -> None:
    model, x = network(source, name), images(source, name)
    gcp.replace_pooling(model, "pade", num_classes=5, reduced_channels=8, class_token=fusion)
    model.eval()
    vector = model.forward_head(model.forward_features(x), pre_logits=True)
    assert vector.shape == (2, 36 + width)
    tokens = model.forward_features(x)
    torch.testing.assert_close(vector[:, 36:], tokens[:, 0])
    assert torch.equal(model.get_classifier()(vector), model(x))


def own(dimensions: int = 2, pooling: Callable[[], nn.Module] | None = None, *behind: nn.Module) -> nn.Sequential:
    """A small network whose pooling is a layer."""
    torch.manual_seed(0)
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1](3, 8, 3)
    average = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[dimensions - 1](1)
    return nn.Sequential(convolution, nn.ReLU(), pooling() if pooling else average, nn.Flatten(),
                         *(behind or (nn.Linear(8, 10),)))  # fmt: skip


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_networks_of_ones_own(dimensions: int) -> None:
    """For sequences, images and clips; against the layers called one by one."""
    model = own(dimensions)
    gcp.replace_pooling(model, "taylor", degree=20)
    x = torch.randn(2, 3, *[6] * dimensions, generator=torch.Generator().manual_seed(1))
    pooling = gcp.create_pooling("taylor", 8, degree=20)
    torch.testing.assert_close(model(x), model[4](pooling(model[1](model[0](x)))))


def test_a_norm_of_the_pooled_vector_is_one_of_each_position() -> None:
    norm = nn.LayerNorm(8)
    nn.init.normal_(norm.weight)
    model = own(2, None, norm, nn.Linear(8, 7), nn.GELU(), nn.LayerNorm(7), nn.Linear(7, 10))
    last = model[8]
    done = gcp.replace_pooling(model, "pade")
    assert (done.moved, done.new, model[8] is last) == (("4",), ("2", "5"), True)
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    normed = norm(model[1](model[0](x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    vector = gcp.create_pooling("pade", 8)(normed)
    torch.testing.assert_close(model(x), model[5:](vector))


def test_new_layers_are_like_the_network() -> None:
    model = own().double().eval()
    gcp.replace_pooling(model, "pade", num_classes=4, reduced_channels=5)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    assert not any(module.training for module in model.modules())
    with torch.device("meta"):
        model = own()
        on_meta = timm.create_model("test_vit")
    gcp.replace_pooling(model, "pade")
    gcp.replace_pooling(on_meta, "pade", class_token="sum")
    assert all(each.is_meta for net in (model, on_meta) for each in net.parameters())


class PoolsInForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)))


class OwnDenseNet(models.DenseNet):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def pooled_already() -> nn.Module:
    model = timm.create_model("test_vit")
    gcp.replace_pooling(model, "pade", num_classes=3)
    return model


@pytest.mark.parametrize(
    ("build", "arguments", "says"),
    [
        (PoolsInForward, {}, "PoolsInForward cannot be replaced: it has no adaptive pooling layer; it may pool in its"),
        (lambda: OwnDenseNet(4, (1, 1, 1, 1), 8), {}, "OwnDenseNet cannot be replaced: it has no adaptive pooling"),
        (lambda: own(2, None, nn.ReLU()), {}, "no linear layer follows its last pooling layer '2'"),
        (lambda: own(2, None, nn.BatchNorm1d(8), nn.Linear(8, 2)), {}, "'4', a BatchNorm1d, comes after its last"),
        (lambda: own(2, lambda: nn.AdaptiveAvgPool2d((2, None)), nn.Linear(8, 2)), {}, "'4' reads 8 numbers, which"),
        (lambda: own(2, lambda: nn.AdaptiveAvgPool2d(3), nn.Linear(8, 2)), {}, "reads 8 numbers, which '2' with"),
        (lambda: models.squeezenet1_1(weights=None), {}, "no pooled vector to classify"),
        (lambda: models.inception_v3(weights=None, init_weights=False), {}, "build it with aux_logits=False"),
        (lambda: timm.create_model("crossvit_tiny_240"), {}, "its forward_features gives list, no map"),
        (lambda: timm.create_model("coat_lite_tiny"), {}, "of the 50 tokens of a square image 50 are left"),
        (lambda: timm.create_model("test_vit", num_classes=0), {}, "give num_classes"),
        (pooled_already, {}, "the pooling of this VisionTransformer has been replaced already"),
        (own, {"class_token": "sum"}, "Sequential has no class token to add"),
        (own, {"num_classes": 0}, "num_classes must be at least 1"),
        (own, {"reduced_channels": "all"}, "reduced_channels must be an integer or None, got 'all'"),
        (own, {"degree": 3}, "method 'pade' has no option 'degree'"),
    ],
)
def test_what_is_refused_and_that_nothing_is_replaced_then(
    build: Callable[[], nn.Module], arguments: dict[str, Any], says: str
) -> None:
    model = build()
    before, kind = list(model.modules()), type(model)
    with pytest.raises(OptionError, match=says):
        gcp.replace_pooling(model, "pade", **arguments)
    assert type(model) is kind
    assert all(a is b for a, b in zip(before, model.modules(), strict=True))


def test_what_is_no_network_and_what_is_no_method() -> None:
    with pytest.raises(OptionTypeError, match=r"model must be an nn\.Module, got str"):
        gcp.replace_pooling("resnet18", "pade")
    with pytest.raises(UnknownNameError, match="'pade'"):
        gcp.replace_pooling(own(), "pad")


def test_a_wrong_place_is_loud() -> None:
    """What structure cannot tell, a pooling registered in another place than it acts, is no silent nonsense."""
    model = nn.ModuleDict({"conv": nn.Conv2d(3, 6, 3), "pool": nn.AdaptiveAvgPool2d(1), "fc": nn.Linear(8, 2)})
    gcp.replace_pooling(model, "pade")
    with pytest.raises(ShapeError, match="pools 8 channels, got shape"):
        model["pool"](model["conv"](torch.randn(2, 3, 8, 8)))
