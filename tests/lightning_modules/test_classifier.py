"""The LightningModule: metrics against a direct computation, parameter groups, restoring."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from gcp.errors import NonFiniteError, UnknownNameError
from lightning_modules.classifier import Classifier

CLASSES = 7


def classifier(method: str = "pade", **optimizer) -> Classifier:
    pl.seed_everything(0, verbose=False)
    return Classifier(
        backbone={"name": "tiny", "width": 8},
        method={"name": method, "reduced_channels": 4 if method != "average" else None},
        num_classes=CLASSES,
        optimizer={"name": "sgd", **optimizer},
        schedule={"name": "step", "milestones": [1], "gamma": 0.5},
    )


def loader(count: int = 22, batch_size: int = 8) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, 24, 24, generator=generator)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return DataLoader(TensorDataset(images, labels), batch_size=batch_size)


def trainer(tmp_path, **arguments) -> pl.Trainer:
    defaults = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": tmp_path}
    return pl.Trainer(**{**defaults, **quiet, **arguments})


def test_metrics_over_uneven_batches_equal_a_direct_computation(tmp_path):
    module, data = classifier(), loader()
    (metrics,) = trainer(tmp_path).test(module, data, verbose=False)
    images, labels = data.dataset.tensors
    with torch.no_grad():
        logits = module.eval()(images)
    top = logits.topk(5).indices
    assert metrics["test/acc1"] == pytest.approx((top[:, 0] == labels).double().mean().item(), abs=1e-6)
    assert metrics["test/acc5"] == pytest.approx((top == labels[:, None]).any(1).double().mean().item(), abs=1e-6)
    # float32 sums in another order
    assert metrics["test/loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)


def test_the_schedule_drops_the_rate_after_its_milestone(tmp_path):
    module = classifier(lr=0.2, classifier_factor=10)
    run = trainer(tmp_path, max_epochs=2)
    run.fit(module, loader())
    rates = {group["name"]: group["lr"] for group in run.optimizers[0].param_groups}
    assert rates == pytest.approx({"features": 0.1, "representation": 0.1, "classifier": 1.0})


def test_a_checkpoint_restores_the_module_by_itself(tmp_path):
    module = classifier("newton")
    run = trainer(tmp_path)
    run.fit(module, loader())
    run.save_checkpoint(tmp_path / "m.ckpt")
    again = Classifier.load_from_checkpoint(tmp_path / "m.ckpt", weights_only=True)
    images = loader().dataset.tensors[0]
    with torch.no_grad():
        assert torch.equal(again.eval()(images), module.eval()(images))


@pytest.mark.parametrize("method", ["average", "pade"])
def test_nan_says_where(tmp_path, method):
    data = loader()
    data.dataset.tensors[0][11, 0, 0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match=r"sample 3.*: mend the data") as caught:
        trainer(tmp_path).fit(classifier(method), data)
    assert "train batch 1, epoch 1, step 1" in str(caught.value)
    assert caught.value.samples == (3,) or method == "pade"


def test_divergence_is_told_from_bad_data(tmp_path):
    with pytest.raises(NonFiniteError, match="training diverged"):
        trainer(tmp_path, gradient_clip_val=None, max_epochs=5).fit(classifier(lr=1e30), loader())


def test_unknown_names_are_refused():
    module = classifier()
    module.hparams["optimizer"] = {"name": "adm"}
    with pytest.raises(UnknownNameError, match="unknown optimizer 'adm'"):
        module.configure_optimizers()


def test_repaired_decompositions_are_reported_once(tmp_path, monkeypatch):
    """A decomposition that fails on the first matrix is tried again rescaled, counted, and said at the end."""
    from gcp.spectral import lapack

    plain, first = lapack.plain_eigh, []

    def stubborn(matrix):
        batch = matrix.reshape(-1, *matrix.shape[-2:])
        first.append(batch[0].clone())
        if (batch == first[0]).flatten(1).all(1).any():
            raise torch.linalg.LinAlgError("does not converge")
        return plain(matrix)

    monkeypatch.setattr(lapack, "plain_eigh", stubborn)
    with pytest.warns(UserWarning, match=r"decompositions that needed help.*rescaled=1") as caught:
        trainer(tmp_path).fit(classifier(), loader())
    assert len([warning for warning in caught if "needed help" in str(warning.message)]) == 1
