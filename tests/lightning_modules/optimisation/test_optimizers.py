"""Optimizers: groups, values and what is refused."""

from __future__ import annotations

import pytest
import torch

from gcp.errors import OptionError
from gcp.methods import list_methods
from gcp.model import create_model
from lightning_modules.optimisation.groups import parameter_groups
from lightning_modules.optimisation.optimizers import adamw, sgd, torch_optimizer
from lightning_modules.settings.optimisation import AdamWOptions, OptimizerOptions, SGDOptions, TorchOptions

CLASSES = 7
NAMES = ["features", "representation", "classifier"]


def network(method: str = "pade", reduced_channels: int | None = 4):
    return create_model("tiny", method, CLASSES, reduced_channels, backbone_options={"width": 8})


@pytest.mark.parametrize("method", list_methods())
def test_three_groups_hold_every_parameter_once(method):
    model = network(method, reduced_channels=None)
    groups = parameter_groups(model, OptimizerOptions(lr=0.1, classifier_factor=5))
    expected = NAMES if list(model.representation.parameters()) else ["features", "classifier"]
    assert [group["name"] for group in groups] == expected
    assert [group["lr"] for group in groups] == [0.5 if name == "classifier" else 0.1 for name in expected]
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in model.parameters()}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_norms_and_biases_are_exempt_from_weight_decay_on_request():
    model = network()
    options = OptimizerOptions(weight_decay=0.3, classifier_weight_decay=0.2, decay_norm_and_bias=False)
    groups = parameter_groups(model, options)
    assert {group["name"]: group["weight_decay"] for group in groups} == {
        "features": 0.3, "features_no_decay": 0.0, "representation": 0.3, "representation_no_decay": 0.0,
        "classifier": 0.2, "classifier_no_decay": 0.0,
    }  # fmt: skip
    norms = {id(p) for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters()}
    biases = {id(p) for name, p in model.named_parameters() if name.endswith("bias")}
    exempt = {id(p) for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert exempt == norms | biases
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_the_classifier_has_a_weight_decay_of_its_own():
    groups = parameter_groups(network(), OptimizerOptions(weight_decay=0.3, classifier_weight_decay=0.0))
    assert [group["weight_decay"] for group in groups] == [0.3, 0.3, 0.0]


@pytest.mark.parametrize(
    ("build", "options", "cls", "values"),
    [
        (sgd, SGDOptions(momentum=0.8, nesterov=True), torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
        (adamw, AdamWOptions(beta1=0.8, eps=1e-7), torch.optim.AdamW, {"betas": (0.8, 0.999), "eps": 1e-7}),
        (torch_optimizer, TorchOptions(cls="RMSprop", arguments={"alpha": 0.9}), torch.optim.RMSprop, {"alpha": 0.9}),
        (torch_optimizer, TorchOptions(arguments={"betas": [0.8, 0.9]}), torch.optim.Adam, {"betas": (0.8, 0.9)}),
        (torch_optimizer, TorchOptions(cls="Rprop"), torch.optim.Rprop, {}),  # has no weight decay
    ],
)
def test_values_reach_torch(build, options, cls, values):
    optimizer = build(network(), options)
    assert type(optimizer) is cls
    for group in optimizer.param_groups:
        assert {name: group[name] for name in values} == values
        assert group["lr"] == options.lr
        assert group.get("weight_decay", 0.0) == options.weight_decay
    assert [group["name"] for group in optimizer.param_groups] == NAMES
    assert optimizer.defaults["lr"] == options.lr  # what schedules go by


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cls": "RMSProp"}, r"no optimizer 'RMSProp' \(did you mean 'RMSprop'\?\); available: .*Adam, "),
        ({"cls": "lr_scheduler"}, "no optimizer 'lr_scheduler'"),
        ({"cls": "LBFGS"}, "cannot train this network"),
        ({"cls": "RMSprop", "arguments": {"alfa": 0.9}}, r"no argument 'alfa' \(did you mean 'alpha'\?\); it takes:"),
        ({"cls": "RMSprop", "arguments": {"lr": 0.9}}, r"arguments.lr is set as optimizer.lr"),
        ({"cls": "Adam", "arguments": {"betas": [2.0, 0.9]}}, r"refuses optimizer.arguments: .*beta"),
        ({"cls": "Rprop", "weight_decay": 0.1}, "has no weight decay; set optimizer.weight_decay=0"),
    ],
)
def test_what_torch_does_not_take_is_refused_in_a_sentence(options, message):
    with pytest.raises(OptionError, match=message):
        torch_optimizer(network(), TorchOptions(**options))


def test_every_class_offered_trains_the_network():
    """All of torch.optim but the named unfit ones: constructed over the groups and one step taken."""
    from lightning_modules.optimisation.optimizers import UNFIT

    names = [
        name
        for name, cls in vars(torch.optim).items()
        if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer) and name not in {"Optimizer", *UNFIT}
    ]
    assert len(names) >= 10
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for name in names:
        model = network()
        before = model.classifier.weight.detach().clone()
        optimizer = torch_optimizer(model, TorchOptions(cls=name))
        model(images).square().mean().backward()
        optimizer.step()
        assert model.classifier.weight.isfinite().all()
        assert not torch.equal(before, model.classifier.weight), name


def test_learning_rates_that_fall_with_the_depth():
    with torch.device("meta"):
        model = create_model(
            "timm",
            "pade",
            3,
            reduced_channels=8,
            backbone_options={"model": "tf_efficientnet_lite0", "frozen": "blocks.2"},
        )
    options = SGDOptions(lr=0.1, features_factor=0.5, layer_decay=0.8, classifier_factor=10, decay_norm_and_bias=False)
    groups = parameter_groups(model, options)
    rates = {group["name"]: group["lr"] for group in groups if not group["name"].endswith("_no_decay")}
    names = [*(f"features_blocks.{k}" for k in (3, 4, 5, 6)), "features_conv_head", "representation", "classifier"]
    assert list(rates) == names  # what is frozen is in none; bn2 goes with conv_head
    expected = [0.05 * 0.8**4, 0.05 * 0.8**3, 0.05 * 0.8**2, 0.05 * 0.8, 0.05, 0.1, 1.0]
    assert list(rates.values()) == pytest.approx(expected)
    exempt = {group["name"]: group["lr"] for group in groups if group["name"].endswith("_no_decay")}
    assert exempt == {f"{name}_no_decay": rates[name] for name in names}
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(each) for each in model.parameters() if each.requires_grad)


@pytest.mark.parametrize(("name", "options"), [("resnet18", {}), ("timm", {"model": "test_vit"}), ("tiny", {})])
def test_every_parameter_has_one_level(name, options):
    model = create_model(name, "average", 3, backbone_options=options)
    groups = parameter_groups(model, SGDOptions(lr=0.1, layer_decay=0.5))
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(held) == len(set(held)) == len(list(model.parameters()))
    rates = [group["lr"] for group in groups if group["name"].startswith("features")]
    assert rates == sorted(rates)
    assert rates[-1] == 0.1
    assert rates[0] == pytest.approx(0.1 * 0.5 ** (len(rates) - 1))


def test_a_backbone_without_levels():
    model = create_model("tiny", "average", 3)
    model.features = torch.nn.Conv2d(3, 4, 1)
    with pytest.raises(OptionError, match=r"optimizer\.layer_decay needs a backbone with levels"):
        parameter_groups(model, SGDOptions(layer_decay=0.5))
