"""The callback that switches the pooling method: when it does, what it leaves alone, what it refuses."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from gcp.diagnostics.condition import condition_number
from gcp.errors import OptionError
from gcp.methods import METHODS, register_method
from gcp.pooling.spectral import CovariancePooling
from lightning_modules.callbacks.method_switch import MethodSwitch
from lightning_modules.classifier import Classifier
from lightning_modules.run.read_checkpoint import method_in
from lightning_modules.settings.training import SwitchOptions
from lightning_modules.switching import pooling_of, second_method, set_method


def classifier(milestones: tuple[int, ...] = (1, 2), reduced_channels: int | None = 4) -> Classifier:
    pl.seed_everything(0, verbose=False)
    return Classifier(
        backbone={"name": "tiny", "width": 8},
        method={"name": "newton", "reduced_channels": reduced_channels},
        num_classes=3,
        optimizer={"name": "sgd"},
        schedule={"name": "step", "milestones": list(milestones), "gamma": 0.5},
    )


def loader() -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, 3, 24, 24, generator=generator)
    return DataLoader(TensorDataset(images, torch.arange(16) % 3), batch_size=8)


class Watch(pl.Callback):
    """The method, the learning rate and the steps of momentum in each epoch."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.rates: list[float] = []
        self.momenta: list[bool] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            self.methods.append(pooling_of(pl_module.model).description.split(",")[0])
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
            state = trainer.optimizers[0].state
            self.momenta.append(all(parameter in state for parameter in pl_module.parameters()))


def fit(module: Classifier, switch: MethodSwitch, tmp_path, epochs: int = 4) -> tuple[Watch, pl.Trainer]:
    watch = Watch()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[switch, watch],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader())
    return watch, trainer


def test_what_is_not_a_kernels_own_goes_on_unless_said_otherwise():
    """Else the classifier would be given another covariance, or another vector of it, without a word."""
    first = {"name": "taylor", "degree": 7, "reduced_channels": 4, "vectorisation": "isometric", "shrinkage": 0.2}
    common = {"reduced_channels": 4, "vectorisation": "isometric", "shrinkage": 0.2}
    assert second_method(first, SwitchOptions(to="pade")) == {"name": "pade", **common}
    plain = SwitchOptions(to="pade", options={"vectorisation": "upper"})
    assert second_method(first, plain) == {"name": "pade", **common, "vectorisation": "upper"}
    assert second_method(first, SwitchOptions(to="bilinear")).keys() == {"name", "reduced_channels", "vectorisation"}
    usual = {"name": "taylor", "degree": 7, "reduced_channels": 4, "vectorisation": "upper", "precision": "mixed"}
    assert second_method(usual, SwitchOptions(to="newton")) == {"name": "newton", "reduced_channels": 4}


def test_at_the_last_decay(tmp_path):
    module = classifier()
    parameters = {name: id(parameter) for name, parameter in module.named_parameters()}
    switch = MethodSwitch(module, SwitchOptions(to="taylor", options={"degree": 7}))
    watch, trainer = fit(module, switch, tmp_path)
    assert watch.methods == ["newton", "newton", "taylor", "taylor"]
    assert watch.rates == pytest.approx([0.1, 0.05, 0.025, 0.025])  # the switch falls on the last decay
    assert watch.momenta == [False, True, True, True]
    assert {name: id(parameter) for name, parameter in module.named_parameters()} == parameters
    assert switch.summary_entries == {"switch/epoch": 3, "switch/step": 4, "switch/condition": None}
    assert pooling_of(module.model).method.options.degree == 7
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert method_in(checkpoint) == {"name": "taylor", "reduced_channels": 4, "degree": 7}
    again = Classifier.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    assert pooling_of(again.model).description.startswith("taylor, ")


@pytest.mark.parametrize("reduced_channels", [4, None])
def test_at_an_epoch(tmp_path, reduced_channels):
    module = classifier(reduced_channels=reduced_channels)
    switch = MethodSwitch(module, SwitchOptions(to="pade", at="epoch", epoch=1))
    assert fit(module, switch, tmp_path, epochs=3)[0].methods == ["newton", "pade", "pade"]


def test_at_a_condition_number(tmp_path):
    module = classifier()
    never = MethodSwitch(module, SwitchOptions(to="pade", at="condition", condition=1.01))
    assert fit(module, never, tmp_path, epochs=2)[0].methods == ["newton", "newton"]
    assert never.switched is None
    module = classifier()
    measured: list[torch.Tensor] = []
    pooling_of(module.model).register_forward_pre_hook(lambda layer, inputs: measured.append(inputs[0].detach()))
    once = MethodSwitch(module, SwitchOptions(to="pade", at="condition", condition=1e9, batches=1))
    assert fit(module, once, tmp_path, epochs=2)[0].methods == ["newton", "pade"]
    expected = condition_number(measured[1]).nanmedian()  # the last batch of the first epoch; batches=1, 8 images
    assert once.switched == {"epoch": 1, "step": 2, "condition": pytest.approx(expected.item())}


def test_a_switch_beyond_the_end_is_said(tmp_path, capsys):
    module = classifier()
    switch = MethodSwitch(module, SwitchOptions(to="pade", at="epoch", epoch=9))
    fit(module, switch, tmp_path, epochs=1)
    assert "the switch to pade is due after 9 epochs and will not happen" in capsys.readouterr().err
    assert switch.summary_entries == {"switch/epoch": None, "switch/step": None, "switch/condition": None}


def test_what_does_not_fit_is_refused_before_training():
    with pytest.raises(OptionError, match=r"switch\.to=average gives 4 features where the first method gives 10"):
        MethodSwitch(classifier(), SwitchOptions(to="average"))
    with pytest.raises(OptionError, match="needs a schedule with milestones"):
        MethodSwitch(classifier(milestones=()), SwitchOptions(to="pade"))


def test_a_method_with_parameters_is_refused(monkeypatch):
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))

    class Weighted(CovariancePooling):
        def __init__(self, in_channels, info, options):
            super().__init__(in_channels, METHODS.get("pade"), options)
            self.weight = torch.nn.Parameter(torch.ones(self.out_features))

    register_method("weighted", layer=Weighted)
    with pytest.raises(OptionError, match="a method with parameters of its own cannot be switched"):
        MethodSwitch(classifier(), SwitchOptions(to="weighted"))


def test_another_method_than_the_one_switched_to_is_refused():
    switch = MethodSwitch(classifier(), SwitchOptions(to="pade"))
    switch.switched = {"epoch": 2, "step": 4, "condition": None}
    other = MethodSwitch(classifier(), SwitchOptions(to="lyapunov"))
    with pytest.raises(OptionError, match="leave the options of switch out"):
        other.load_state_dict(switch.state_dict())


def test_a_new_pooling_layer_comes_to_where_the_network_is():
    module = classifier().double().eval()
    set_method(module, {"name": "pade", "reduced_channels": 4})
    assert not pooling_of(module.model).training
    assert module(torch.randn(2, 3, 24, 24, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("positions", [5, 40])
def test_condition_numbers_are_those_of_the_singular_values(positions):
    features = torch.randn(3, 8, positions, generator=torch.Generator().manual_seed(0))
    centred = features.double() - features.double().mean(-1, keepdim=True)
    singular = torch.linalg.svdvals(centred)[:, : min(8, positions - 1)]  # centring takes one dimension
    expected = (singular[:, 0] / singular[:, -1]) ** 2
    torch.testing.assert_close(condition_number(features), expected, rtol=1e-9, atol=0)
    features[1] = torch.nan
    features[2] = 1.0
    assert condition_number(features).isnan().tolist() == [False, True, True]
