"""backbone.class_token and method=cross_covariance on the command line: trained, tested, resumed, exported, refused."""

from __future__ import annotations

import pytest
import torch

from lightning_modules.classifier import Classifier
from lightning_modules.exporting import onnx
from tests.small import SMALL

HEADS = ("method=cross_covariance", "method.heads=2", "method.width=3", *SMALL)
NETWORK = (
    *(argument for argument in HEADS if "width=8" not in argument),
    "backbone=timm",
    "backbone.model=test_vit",
    "backbone.class_token=sum",
    "data.image_size=32",
)


def test_a_checkpoint_knows_what_became_of_the_token(cli, tmp_path, summary_of):
    assert cli(*NETWORK, "hydra.run.dir=run").code == 0
    module = Classifier.load_from_checkpoint(tmp_path / "run/checkpoints/last.ckpt", map_location="cpu")
    assert module.hparams["backbone"]["class_token"] == module.model.class_token == "sum"
    assert (module.model.classifier.pooled.in_features, module.model.classifier.token.in_features) == (2 * 3**2, 64)
    outcome = cli("mode=test", "ckpt_path=run", *SMALL[-4:], "hydra.run.dir=test")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "test")["test/loss"] == pytest.approx(summary_of(tmp_path / "run")["test/loss"])


def test_a_backbone_without_a_class_token_is_refused(cli):
    outcome = cli("backbone.class_token=concat", *SMALL, "hydra.run.dir=run")
    assert outcome.code == 1
    assert "the backbone tiny has no class token to add (class_token=concat): leave class_token out" in outcome.err
    assert "class_token must be one of sum, concat, got 'cat'" in cli("backbone.class_token=cat", *SMALL).err


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_resumed_and_exported(cli, tmp_path, fusion):
    network = (*NETWORK, f"backbone.class_token={fusion}")
    two = [argument for argument in network if "max_epochs" not in argument] + ["trainer.max_epochs=2"]
    assert cli(*two, "hydra.run.dir=straight").code == 0
    assert cli(*two, "trainer.max_epochs=1", "hydra.run.dir=run").code == 0
    assert cli(*two, "ckpt_path=run", "hydra.run.dir=run").code == 0
    straight, resumed = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("straight", "run")
    )
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)
    outcome = cli("mode=export", "ckpt_path=run", "hydra.run.dir=out")
    assert outcome.code == 0, outcome.err
    images = torch.randn(3, 3, 32, 32)
    module = Classifier.load_from_checkpoint(tmp_path / "run/checkpoints/last.ckpt", map_location="cpu").eval()
    exported = torch.export.load(tmp_path / "out/model.pt2").module()
    torch.testing.assert_close(exported(images), module(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_onnx_has_no_decomposition(cli, tmp_path):
    pytest.importorskip("onnxscript")
    assert cli(*HEADS, "hydra.run.dir=run").code == 0
    outcome = cli("mode=export", "ckpt_path=run", "export.format=onnx", "hydra.run.dir=out")
    assert outcome.code == 1
    assert "the network cannot be written as ONNX" in outcome.err
    assert not (tmp_path / "out" / onnx.FILE).exists()
