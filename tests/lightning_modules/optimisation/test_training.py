"""Training as a whole: label smoothing, averaged weights, final and best epoch, precision, compilation, resuming."""

from __future__ import annotations

import csv

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional

from lightning_modules.callbacks.averaging import Averaging
from lightning_modules.classifier import Classifier
from tests.lightning_modules.test_classifier import CLASSES, loader, trainer
from tests.small import SMALL

EPOCHS = [argument for argument in SMALL if "max_epochs" not in argument]
MIXED = ("training.mixup=0.4", "training.cutmix=1", "training.label_smoothing=0.1", "training.ema_decay=0.7")


def classifier(method: str = "pade", **training) -> Classifier:
    pl.seed_everything(0, verbose=False)
    return Classifier(
        backbone={"name": "tiny", "width": 8},
        method={"name": method, "reduced_channels": 4},
        num_classes=CLASSES,
        optimizer={"name": "adamw"},
        schedule={"name": "constant"},
        training=training,
    )


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def kill_in(monkeypatch):
    """``kill_in(epoch)``: the next run dies in that epoch, after a batch of it."""
    step = Classifier.training_step

    def arm(epoch: int | None) -> None:
        def training_step(self, batch, batch_idx):
            if self.current_epoch == epoch and batch_idx == 1:
                raise KilledError
            return step(self, batch, batch_idx)

        monkeypatch.setattr(Classifier, "training_step", training_step)

    return arm


def saved(path):
    return torch.load(path / "checkpoints/last.ckpt", weights_only=True)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_smoothed_labels_are_torchs_in_training_and_plain_in_evaluation():
    module = classifier(label_smoothing=0.2).eval()
    module.log = module.log_dict = lambda *arguments, **options: None  # outside a trainer
    module._trainer = trainer(None)
    images, labels = next(iter(loader()))
    logits = module(images)
    expected = functional.cross_entropy(logits, labels, label_smoothing=0.2)
    torch.testing.assert_close(module.training_step((images, labels), 0), expected)
    loss, _ = module._step((images, labels), 0, "val")
    torch.testing.assert_close(loss, functional.cross_entropy(logits, labels))


class Recorder(pl.Callback):
    """Keeps the weights after each step, and those that are validated."""

    def __init__(self):
        self.steps, self.validated = [], []

    def on_train_batch_end(self, trainer, pl_module, *rest):
        self.steps.append({name: value.clone() for name, value in pl_module.state_dict().items()})

    def on_validation_batch_start(self, trainer, pl_module, *rest):
        self.validated.append({name: value.clone() for name, value in pl_module.state_dict().items()})


@pytest.mark.parametrize("method", ["pade", "compact_bilinear"])  # the latter has integers that must stay
def test_averaged_weights_are_the_moving_average_and_are_validated(tmp_path, method):
    recorder, module = Recorder(), classifier(method)
    run = trainer(tmp_path, callbacks=[recorder, Averaging(0.6)], limit_val_batches=1, num_sanity_val_steps=0)
    run.fit(module, loader(), loader())
    expected = recorder.steps[0]
    for weights in recorder.steps[1:]:
        expected = {
            name: 0.6 * value + 0.4 * weights[name] if value.is_floating_point() else weights[name]
            for name, value in expected.items()
        }
    assert len(recorder.steps) == 3
    for found in (recorder.validated[0], module.state_dict()):
        for name, value in expected.items():
            # float32, three steps: rounding of lerp against a sum of products
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    last = recorder.steps[-1]
    assert not torch.allclose(last["model.classifier.weight"], expected["model.classifier.weight"], atol=1e-5)


def test_validation_that_is_interrupted_leaves_the_trained_weights(tmp_path):
    recorder, module = Recorder(), classifier()

    def interrupt(*rest):
        raise KilledError

    run = trainer(tmp_path, callbacks=[recorder, Averaging(0.6)], num_sanity_val_steps=0)
    module.on_validation_batch_start = interrupt
    with pytest.raises(KilledError):
        run.fit(module, loader(), loader())
    assert equal(module.state_dict(), recorder.steps[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        (*MIXED, "schedule=cosine", "schedule.warmup_epochs=1", "optimizer=adamw", "optimizer.lr=0.01"),
        (*MIXED, "schedule=log", "schedule.warmup_steps=3", "trainer.accumulate_grad_batches=2"),
    ],
    ids=["epochs", "steps"],
)
def test_killed_and_resumed_it_ends_with_the_same_weights(cli, tmp_path, summary_of, kill_in, options):
    more = [*EPOCHS, *options, "trainer.max_epochs=4", "trainer.limit_train_batches=4"]
    assert cli(*more, "hydra.run.dir=whole").code == 0
    kill_in(2)
    with pytest.raises(KilledError):
        cli(*more, "hydra.run.dir=parts")
    kill_in(None)
    outcome = cli("ckpt_path=last", "hydra.run.dir=parts")
    assert outcome.code == 0, outcome.err
    whole, parts = (saved(tmp_path / name) for name in ("whole", "parts"))
    assert equal(whole["state_dict"], parts["state_dict"])
    assert equal(whole["current_model_state"], parts["current_model_state"])
    assert not equal(whole["state_dict"], whole["current_model_state"])
    facts = [summary_of(tmp_path / name) for name in ("whole", "parts")]
    for name in ("best/epoch", "final/val/acc1", "best/val/acc1", "test/loss", "test_final/loss"):
        assert facts[0][name] == facts[1][name], name
    refused = cli("ckpt_path=parts", "training.mixup=0.1")
    assert "training.mixup=0.1 (checkpoint: 0.4)" in refused.err


def test_averaged_weights_are_those_that_are_tested_and_used(cli, tmp_path, summary_of):
    """Also in a hybrid run, whose average follows the switch to a method with a buffer of its own."""
    power = ("switch.to=power", "switch.options.learnable=false", "switch.options.alpha=0.3")
    hybrid = ("method=isqrt", *power, "switch.at=epoch", "switch.epoch=1", "trainer.max_epochs=2")
    outcome = cli(*EPOCHS, *hybrid, "training.ema_decay=0.5", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert cli("mode=test", "ckpt_path=run/checkpoints/last.ckpt", "hydra.run.dir=test").code == 0
    found = summary_of(tmp_path / "test")["test/loss"]
    assert found == pytest.approx(summary_of(tmp_path / "run")["test_final/loss"], rel=1e-6)  # the same weights


def test_final_and_best_epoch_are_both_reported(cli, tmp_path, summary_of):
    """A learning rate that destroys the network after the first epochs: the best epoch is not the last one."""
    small = [argument for argument in EPOCHS if "train_batches" not in argument]
    rates = ("optimizer.lr=0.03", "schedule.milestones=[2]", "schedule.gamma=1e5")
    outcome = cli(*small, "trainer.max_epochs=3", "trainer.limit_train_batches=30", *rates, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    summary = summary_of(tmp_path / "run")
    rows = list(csv.DictReader((tmp_path / "run/metrics.csv").open()))
    accuracies = [float(row["val/acc1"]) for row in rows if row["val/acc1"]]
    assert summary["best/epoch"] == 1 + accuracies.index(max(accuracies)) < 3
    assert summary["best/val/acc1"] == summary["val/acc1"] == pytest.approx(max(accuracies), rel=1e-6)
    assert summary["final/val/acc1"] == pytest.approx(accuracies[-1], rel=1e-6) != summary["best/val/acc1"]
    assert summary["test_final/acc1"] < summary["test/acc1"]
    assert f"{summary['test/acc1']:.2%}, after the last epoch {summary['test_final/acc1']:.2%}" in outcome.out
    for name, path in (("test/loss", "best"), ("test_final/loss", "last")):
        assert cli("mode=test", f"ckpt_path=run/checkpoints/{path}.ckpt", f"hydra.run.dir={path}").code == 0
        assert summary_of(tmp_path / path)["test/loss"] == pytest.approx(summary[name], rel=1e-6)


def test_the_best_epoch_that_is_the_last_is_tested_once(cli, tmp_path, summary_of):
    assert cli(*SMALL, "hydra.run.dir=run").code == 0
    summary = summary_of(tmp_path / "run")
    assert summary["best/epoch"] == 1
    for name in ("acc1", "acc5", "loss"):
        assert summary[f"test_final/{name}"] == summary[f"test/{name}"]
    header = (tmp_path / "run/metrics.csv").read_text().splitlines()[0]
    assert "test_final" not in header


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_leaves_the_spectral_part_alone(cli, tmp_path, summary_of, monkeypatch, precision):
    """The matrices that are decomposed are float64, precision=mixed's, whatever the network's autocast."""
    from gcp.spectral import lapack

    seen = set()
    plain = lapack.plain_eigh

    def watched(matrix):
        seen.add(matrix.dtype)
        return plain(matrix)

    monkeypatch.setattr(lapack, "plain_eigh", watched)
    outcome = cli(*SMALL, f"trainer.precision={precision}", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert seen == {torch.float64}
    assert outcome.err.count("16-mixed is bf16-mixed on a CPU") == (precision == "16-mixed")
    assert "AMP with fp16" not in outcome.err
    assert {value.dtype for value in saved(tmp_path / "run")["state_dict"].values() if value.is_floating_point()} == {
        torch.float32
    }


@pytest.mark.slow
def test_a_compiled_run_has_the_same_weights_by_the_same_names(cli, tmp_path):
    for name, extra in (("plain", ()), ("compiled", ("compile=true", "training.ema_decay=0.5"))):
        outcome = cli(*SMALL, *extra, f"hydra.run.dir={name}")
        assert outcome.code == 0, outcome.err
    plain, compiled = saved(tmp_path / "plain")["state_dict"], saved(tmp_path / "compiled")["current_model_state"]
    assert list(plain) == list(compiled)
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-4)  # two steps; fused sums round otherwise
    assert cli("mode=test", "ckpt_path=compiled").code == 0
