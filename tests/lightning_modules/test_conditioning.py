"""Conditioning within training: order, learning rates, optimizers, precision, averages, what is refused."""

from __future__ import annotations

import copy

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins import MixedPrecision
from torch import nn

from gcp.conditioning.layers import layers_before_covariance
from gcp.conditioning.nearest_orthogonal import nearest_orthogonal
from gcp.errors import OptionError
from lightning_modules.callbacks.averaging import Averaging
from lightning_modules.callbacks.swa import StochasticAveraging
from lightning_modules.classifier import Classifier
from lightning_modules.optimisation.conditioning import Conditioning
from lightning_modules.settings.callback_options import SWAOptions
from lightning_modules.settings.training import CONDITIONING, TrainingOptions
from lightning_modules.switching import weights_before
from tests.gcp.test_conditioning import deviation
from tests.lightning_modules.test_classifier import CLASSES, loader, trainer

ALL = dict.fromkeys(CONDITIONING, True)


def classifier(options: dict[str, bool], optimizer: dict | None = None, **network) -> Classifier:
    pl.seed_everything(0, verbose=False)
    return Classifier(
        backbone={"name": "tiny", "width": 8, **network.pop("backbone", {})},
        method={"name": "pade", "reduced_channels": 4, **network},
        num_classes=CLASSES,
        optimizer={"name": "sgd", "lr": 0.5, "weight_decay": 0.1, **(optimizer or {})},
        schedule={"name": "constant"},
        training=options,
    )


def by_hand(module: Classifier, batches: list, accumulated: int, clip: float) -> None:
    """Plain SGD with momentum, clipping of all gradients, then the two remedies as their formulas say."""
    model, options = module.model, module.conditioning.options
    layer = model.representation.reduction[0].weight
    momenta = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    for start in range(0, len(batches), accumulated):
        model.zero_grad()
        for images, labels in batches[start : start + accumulated]:
            (nn.functional.cross_entropy(model(images), labels) / accumulated).backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        rate = 0.5
        with torch.no_grad():
            if options.orthogonal_gradient:
                layer.grad.copy_(nearest_orthogonal(layer.grad))
            if options.optimal_lr:
                w, l = layer.flatten(), layer.grad.flatten()  # noqa: E741  # the paper's letters
                best = float((w @ w) * (l @ w) / ((w @ w) * (l @ l) + 2 * (l @ w) ** 2))
                rate = best if 0 < best < rate else rate
            for name, parameter in model.named_parameters():
                momenta[name] = 0.9 * momenta[name] + parameter.grad + 0.1 * parameter
                parameter -= (rate if parameter is layer else 0.5) * momenta[name]


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("rate", [True, False])
def test_a_step_is_clipping_then_the_gradient_then_the_rate(tmp_path, gradient, rate):
    module = classifier({"orthogonal_gradient": gradient, "optimal_lr": rate})
    twin, data = copy.deepcopy(module), loader(32)
    run = trainer(tmp_path, accumulate_grad_batches=2, gradient_clip_val=0.1)
    run.fit(module, data)
    by_hand(twin, list(data), 2, 0.1)
    for (name, found), expected in zip(module.named_parameters(), twin.parameters(), strict=True):
        # float32, and gradients that the two add up in another order; the polar factor divides by singular values
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    assert {group["lr"] for group in run.optimizers[0].param_groups} == {0.5}  # the schedule's


class Rates(Callback):
    """The learning rates a step was done with, and the size of the gradients."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []
        self.sizes: list[float] = []

    def on_train_start(self, trainer, pl_module):
        step = Conditioning.before_step

        def watched(conditioning, model, optimizer):
            self.sizes.append(max(float(each.grad.norm()) for each in model.parameters()))
            rate = step(conditioning, model, optimizer)
            self.seen.append({group["name"]: float(group["lr"]) for group in optimizer.param_groups})
            return rate

        pl_module.conditioning.before_step = watched.__get__(pl_module.conditioning)


def test_only_the_layer_has_the_optimal_rate_and_only_where_it_is_lower(tmp_path):
    rates, module = Rates(), classifier({"optimal_lr": True})
    trainer(tmp_path, callbacks=[rates], max_epochs=3).fit(module, loader(64))
    own = [each.pop("representation_before_covariance") for each in rates.seen]
    assert len(own) == 24
    assert all(set(each.values()) == {0.5} for each in rates.seen)
    assert all(0 < rate <= 0.5 for rate in own)
    assert 0 < sum(rate < 0.5 for rate in own) < len(own)  # both happen


GROUPS = {
    "orthogonal_gradient": {"features": 0.1, "representation": 0.1, "classifier": 0.1},
    "optimal_lr": {
        "features": 0.1, "representation": 0.1, "classifier": 0.1, "representation_before_covariance": 0.1,
    },
    "orthogonal_weights": {
        "features": 0.1, "representation": 0.1, "classifier": 0.1, "representation_before_covariance": 0.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("option", CONDITIONING)
def test_groups_and_their_weight_decay(option):
    module = classifier({option: True})
    groups = module.configure_optimizers()["optimizer"].param_groups
    assert {group["name"]: group["weight_decay"] for group in groups} == GROUPS[option]
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in module.parameters())
    exempt = classifier({option: True}, {"decay_norm_and_bias": False})
    groups = exempt.configure_optimizers()["optimizer"].param_groups
    assert all(group["params"] for group in groups)


OPTIMIZERS = [
    {"name": "adamw", "lr": 0.01},
    *({"name": "torch", "cls": cls, "weight_decay": 0.0} for cls in ("Adam", "ASGD", "Rprop", "Adafactor", "NAdam")),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.get("cls", each["name"]))
def test_every_kind_of_optimizer_takes_all_three_on_both_layers(tmp_path, optimizer):
    module = classifier(ALL, optimizer, backbone={"whitening": "first"})
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer(tmp_path, gradient_clip_val=1.0).fit(module, loader(16))
    layers = layers_before_covariance(module.model)
    assert list(layers) == ["features.0", "representation.reduction.0"]
    assert all(deviation(layer) < 1e-5 for layer in layers.values())
    assert any(not torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(value.isfinite().all() for value in module.state_dict().values())


def test_gradients_are_unscaled_before_and_a_step_without_finite_ones_is_left_out(tmp_path):
    """Loss scaling as on a GPU, begun so high that the first steps overflow."""
    rates, module = Rates(), classifier(ALL)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    plugin = MixedPrecision("16-mixed", "cpu", scaler)
    run = trainer(tmp_path, plugins=[plugin], callbacks=[rates], max_epochs=8)
    run.fit(module, loader(64))
    assert scaler.get_scale() < 2.0**40
    finite = [size for size in rates.sizes if size < float("inf")]
    assert 0 < len(finite) < len(rates.sizes)
    assert max(finite) < 1e2 < scaler.get_scale()  # not times the scale
    assert all(value.isfinite().all() for value in module.state_dict().values())


@pytest.mark.parametrize(("clip", "remedy"), [(1.0, "trainer.gradient_clip_val=null"), (None, "bf16-mixed")])
def test_a_fused_optimizer_with_loss_scaling_is_refused_before_training(tmp_path, clip, remedy):
    fused = {"name": "torch", "cls": "Adam", "lr": 0.1, "weight_decay": 0.0, "arguments": {"fused": True}}
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    run = trainer(tmp_path, plugins=[plugin], gradient_clip_val=clip)
    with pytest.raises(OptionError, match=rf"optimizer\.arguments\.fused.*{remedy}"):
        run.fit(classifier(ALL, optimizer=fused), loader(16))
    assert not run.global_step


@pytest.mark.parametrize("averaging", [lambda: Averaging(0.5), lambda: StochasticAveraging(SWAOptions(from_epoch=1))])
def test_averaged_weights_are_orthogonal_too(tmp_path, averaging):
    module = classifier(ALL, backbone={"whitening": "first"})
    run = trainer(tmp_path, callbacks=[averaging()], max_epochs=3, limit_val_batches=1, num_sanity_val_steps=0)
    run.fit(module, loader(16), loader(8))
    assert all(deviation(layer) < 1e-5 for layer in layers_before_covariance(module.model).values())
    images = loader(4).dataset.tensors[0]
    run.save_checkpoint(tmp_path / "run.ckpt")
    again = Classifier.load_from_checkpoint(tmp_path / "run.ckpt", weights_only=True)
    assert torch.equal(again.eval()(images), module.eval()(images))


def test_what_is_measured_of_the_layer_is_what_is_trained():
    module = classifier(ALL)
    assert weights_before(module.model) is module.model.get_parameter(module.conditioning.names[-1])


@pytest.mark.parametrize("option", CONDITIONING)
def test_without_such_a_layer_it_is_refused(option):
    with pytest.raises(OptionError, match=rf"training\.{option} is for the layer before the covariance, and there is"):
        classifier({option: True}, reduced_channels=None)
    with pytest.raises(OptionError, match=r"features\.0 is frozen"):
        classifier({option: True}, backbone={"whitening": "first", "frozen": 1})


def test_off_by_default_and_nothing_changes():
    assert TrainingOptions().conditioning == []
    assert Conditioning(nn.Linear(2, 2), TrainingOptions()).names == []
