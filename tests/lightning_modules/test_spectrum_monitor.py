"""The spectrum monitor: it sees what is there, and training does not notice."""

from __future__ import annotations

import csv
import json

import pytest
import torch

from gcp.diagnostics.condition import condition_number
from gcp.methods import METHODS, list_methods
from gcp.model import create_model
from gcp.pooling.factory import create_pooling
from lightning_modules import metric_names as names
from lightning_modules.callbacks.spectrum_monitor import exact_gradient
from tests.slow import slow_unless
from tests.small import SMALL

EVERY = ("callbacks.spectrum_every_n_steps=1", "callbacks.smoothness_every_n_steps=1")
OFF = ("callbacks.spectrum_every_n_steps=null",)


def column(directory, name):
    with (directory / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


@pytest.mark.parametrize("method", slow_unless(["pade", "isqrt"], ["pade", "isqrt", "power", "average"]))
def test_training_is_the_same_to_the_last_bit(cli, tmp_path, method):
    for name, options in (("with", EVERY), ("without", OFF)):
        outcome = cli(f"method={method}", *SMALL, *options, f"hydra.run.dir={name}")
        assert outcome.code == 0, outcome.err
    files = [tmp_path / name / "checkpoints/last.ckpt" for name in ("with", "without")]
    first, second = (torch.load(file, weights_only=True) for file in files)
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name


def test_what_is_logged(cli, tmp_path):
    assert cli("method=pade", *SMALL, *EVERY, "hydra.run.dir=run").code == 0
    for name in (names.CONDITION, names.EFFECTIVE_RANK, names.NULL, names.LARGEST_K, names.GRAD_INTO_LAYER,
                 names.GRAD_OUT_OF_LAYER, names.GRAD_ERROR, names.SMOOTHNESS):  # fmt: skip
        assert len(column(tmp_path / "run", name)) == 2, name
    channels = create_model("tiny", "pade", 10, backbone_options={"width": 8}).features.num_features
    assert column(tmp_path / "run", names.NULL) == [channels - 3] * 2  # 2 x 2 positions
    assert max(column(tmp_path / "run", names.GRAD_ERROR)) < 1e-4


def test_taylor_is_seen_to_be_wrong_and_pade_not():
    torch.manual_seed(0)
    close = torch.randn(3, 6, 40, dtype=torch.float64)
    U, s, Vh = torch.linalg.svd(close - close.mean(-1, keepdim=True), full_matrices=False)
    s = torch.tensor([1.0, 0.9999, 0.5, 0.4999, 0.1, 0.09999], dtype=torch.float64)
    x = ((U * s) @ Vh).float().reshape(3, 6, 5, 8)
    errors = {}
    for method in ("taylor", "pade"):
        pooling = create_pooling(method, 6)
        leaf = x.clone().requires_grad_()
        output = pooling(leaf)
        grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
        (found,) = torch.autograd.grad(output, leaf, grad)
        exact, eigenvalues, _ = exact_gradient(pooling, x, grad)
        errors[method] = ((found - exact).norm() / exact.norm()).item()
        assert eigenvalues.shape == (3, 6)
    assert errors["taylor"] > 0.05
    assert errors["pade"] < 1e-5


ESTIMATES = ({"shrinkage": 0.3}, {"ledoit_wolf": True}, {"centred": False}, {"centred": False, "shrinkage": 0.5})


@pytest.mark.parametrize("options", ESTIMATES, ids=str)
def test_the_covariance_that_is_measured_is_the_one_that_is_pooled(options):
    x = torch.randn(3, 6, 4, 5, generator=torch.Generator().manual_seed(0)) + 2
    pooling = create_pooling("pade", 6, vectorisation="full", **options)
    leaf = x.clone().requires_grad_()
    output = pooling(leaf)
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    (found,) = torch.autograd.grad(output, leaf, grad)
    exact, eigenvalues, _ = exact_gradient(pooling, x, grad)
    assert ((found - exact).norm() / exact.norm()).item() < 1e-5
    root = output.detach().double().reshape(3, 6, 6)
    torch.testing.assert_close(eigenvalues, torch.linalg.eigvalsh(root @ root).flip(-1), rtol=1e-5, atol=1e-6)
    condition = (eigenvalues[:, 0] / eigenvalues[:, -1]).tolist()
    assert condition_number(pooling.with_plain_covariance(x)).tolist() == pytest.approx(condition, rel=1e-5)


QUICK = ("newton", "isqrt", "logm", "average")  # of each kind one; the others take as long


@pytest.mark.parametrize("method", slow_unless(QUICK, list_methods()))
def test_every_method_trains_under_it(cli, tmp_path, method):
    outcome = cli(f"method={method}", *SMALL, *EVERY, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    gives_root = getattr(create_pooling(method, 8), "gives_root", False)  # mpa's and mtp's too
    assert gives_root >= (METHODS.get(method).kernel is not None)
    assert bool(column(tmp_path / "run", names.GRAD_ERROR)) == gives_root
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "ok"
