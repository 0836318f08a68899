"""mode=export: files that compute what the network computes, or a sentence."""

from __future__ import annotations

import json
from itertools import product

import pytest
import torch

from gcp.errors import ExportError
from gcp.methods import list_methods
from gcp.model import create_model
from lightning_modules.classifier import Classifier
from lightning_modules.exporting import onnx, program
from lightning_modules.modes.export import largest_difference
from tests.slow import slow_unless
from tests.small import SMALL


def logits_of(path, images):
    """Logits by the project's own module, restored from the checkpoint alone."""
    module = Classifier.load_from_checkpoint(path, weights_only=True, map_location="cpu").eval()
    with torch.no_grad():
        return module(images)


def test_a_hybrid_network_is_exported_with_its_second_method(cli, tmp_path, summary_of):
    training = ("switch.to=pade", "switch.at=epoch", "switch.epoch=1", "trainer.max_epochs=2")
    small = [argument for argument in SMALL if "max_epochs" not in argument]
    assert cli("method=newton", *training, *small, "hydra.run.dir=run").code == 0
    unused = ("optimizer.lr=1", "trainer.devices=2")
    outcome = cli("mode=export", "ckpt_path=run/checkpoints/last.ckpt", "hydra.run.dir=out", *unused)
    assert outcome.code == 0, outcome.err
    assert "note: mode=export makes no use of optimizer.lr, trainer.devices\n" in outcome.err
    images = torch.randn(5, 3, 16, 16)
    exported = torch.export.load(tmp_path / "out/model.pt2").module()
    for batch in (images, images[:1]):  # the batch size is free
        torch.testing.assert_close(exported(batch), logits_of(tmp_path / "run/checkpoints/last.ckpt", batch))
    summary = summary_of(tmp_path / "out")
    assert (summary["mode"], summary["status"], summary["method"]) == ("export", "ok", "pade")
    assert 0 <= summary["export/torch_difference"] < 1e-5
    assert "largest difference of a logit" in outcome.out
    facts = json.loads((tmp_path / "out/input.json").read_text())
    assert facts["class_names"] == [str(digit) for digit in range(10)]
    assert facts["image_size"] == 16
    assert not (tmp_path / "out/model.onnx").exists()


@pytest.mark.slow
def test_both_formats(cli, tmp_path, summary_of):
    runtime = pytest.importorskip("onnxruntime")
    assert cli("method=average", *SMALL, "hydra.run.dir=run").code == 0
    outcome = cli("mode=export", "ckpt_path=run", "export.format=both", "hydra.run.dir=out")
    assert outcome.code == 0, outcome.err
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"model.pt2", "model.onnx"}
    images = torch.randn(5, 3, 16, 16)
    session = runtime.InferenceSession(str(tmp_path / "out/model.onnx"))
    for batch in (images, images[:1]):
        (logits,) = session.run(None, {"images": batch.numpy()})
        expected = logits_of(tmp_path / "run/checkpoints/best.ckpt", batch)
        torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-5)
    assert 0 <= summary_of(tmp_path / "out")["export/onnx_difference"] < 1e-4


PRODUCTS = ("isqrt", "mpa", "mtp", "bilinear", "compact_bilinear", "average")  # methods without a decomposition


@pytest.mark.parametrize("method", slow_unless(["pade", "isqrt"], list_methods()))
def test_every_method_becomes_a_program(tmp_path, method):
    model = create_model("tiny", method, 3, backbone_options={"width": 8}).eval()
    images = torch.randn(3, 3, 32, 32)
    program.write(model, images[:2], tmp_path / "model.pt2")
    assert largest_difference(program.load(tmp_path / "model.pt2"), model, images, tmp_path) < 1e-4


@pytest.mark.parametrize(
    ("method", "reduced_channels"),  # None: more channels than positions; 4: fewer, another path for isqrt alone
    slow_unless([("isqrt", None)], product(PRODUCTS, [None, 4])),
)
def test_methods_of_matrix_products_become_onnx(tmp_path, method, reduced_channels):
    """Run by onnxruntime; float32 in another order of operations, also for a sample that is 0."""
    torch.manual_seed(0)
    options = {"width": 16}
    model = create_model("tiny", method, 3, reduced_channels=reduced_channels, backbone_options=options).eval()
    images = torch.randn(3, 3, 24, 24)
    images[2] = 0
    onnx.write(model, images[:2], tmp_path / "model.onnx")
    assert largest_difference(onnx.load(tmp_path / "model.onnx"), model, images, tmp_path) < 1e-5


def test_a_decomposition_is_refused_before_anything_is_written(cli, tmp_path):
    assert cli("method=pade", *SMALL, "hydra.run.dir=run").code == 0
    outcome = cli("mode=export", "ckpt_path=run", "export.format=both", "hydra.run.dir=out")
    assert outcome.code == 1
    assert "the method 'pade' decomposes matrices, and ONNX has no operator for that" in outcome.err
    assert not list((tmp_path / "out").glob("model.*"))


def test_an_operator_onnx_lacks_is_named(tmp_path):
    pytest.importorskip("onnxscript")

    class Decomposing(torch.nn.Module):
        def forward(self, images):
            return torch.linalg.eigvalsh(images[:, 0])

    with pytest.raises(ExportError, match=r"no operator for aten\._linalg_eigh") as caught:
        onnx.write(Decomposing(), torch.eye(4).expand(2, 3, 4, 4), tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


def test_the_check_notices_a_wrong_file(tmp_path):
    images = torch.randn(2, 3, 16, 16)
    model = torch.nn.Flatten()
    with pytest.raises(ExportError, match="do not use it"):
        largest_difference(lambda batch: model(batch) + 0.1, model, images, tmp_path / "model.pt2")
    with pytest.raises(ExportError, match="differ by nan"):
        largest_difference(lambda batch: model(batch) * torch.nan, model, images, tmp_path / "model.pt2")


@pytest.mark.parametrize("absent", slow_unless(["onnx"], ["onnx", "onnxscript"]))
def test_without_the_extra_its_name_is_said(cli, tmp_path, monkeypatch, absent):
    assert cli("method=average", *SMALL, "hydra.run.dir=run").code == 0
    present = onnx.find_spec
    monkeypatch.setattr(onnx, "find_spec", lambda name: None if name == absent else present(name))
    outcome = cli("mode=export", "ckpt_path=run", "export.format=onnx", "hydra.run.dir=out")
    assert outcome.code == 1
    assert f"export to ONNX needs {absent}; install the extra: pip install '.[onnx]'" in outcome.err


def test_without_onnxruntime_the_file_is_written_and_said_to_be_unchecked(cli, tmp_path, monkeypatch, summary_of):
    pytest.importorskip("onnxscript")
    assert cli("method=average", *SMALL, "hydra.run.dir=run").code == 0
    present = onnx.find_spec
    monkeypatch.setattr(onnx, "find_spec", lambda name: None if name == "onnxruntime" else present(name))
    outcome = cli("mode=export", "ckpt_path=run", "export.format=onnx", "hydra.run.dir=out")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "out/model.onnx").exists()
    assert summary_of(tmp_path / "out")["export/onnx_difference"] is None
    assert "model.onnx was not run" in outcome.err


def test_wrong_options_are_one_sentence(cli):
    assert "mode=export needs ckpt_path" in cli("mode=export").err
    outcome = cli("mode=export", "ckpt_path=last", "export.format=tflite")
    assert outcome.code == 1
    assert "export.format must be one of torch, onnx, both, hub, got 'tflite'" in outcome.err
