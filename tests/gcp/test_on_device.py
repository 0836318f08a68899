"""The tests of this folder can run on a GPU, and say why they do not where there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from tests.gcp.helpers import noise
from tests.gcp.on_device import OnDevice


def test_tensors_are_made_where_the_test_runs():
    with OnDevice("meta"):  # the one other device that every machine has
        assert torch.zeros(2).is_meta
        assert noise(2, 3).is_meta
        drawn = torch.rand(2, generator=torch.Generator().manual_seed(0), requires_grad=True)
        assert drawn.is_meta
        assert drawn.requires_grad
        assert torch.nn.Linear(2, 3).weight.is_meta
        assert torch.zeros(2, device="cpu").device.type == "cpu"
    assert noise(2).device.type == "cpu"


def test_the_device_of_a_test_is_known(device):
    assert torch.zeros(1).device.type == device.type


@pytest.mark.slow
@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU to run them on")
def test_without_a_gpu_its_tests_are_skipped_with_a_reason():
    command = [sys.executable, "-m", "pytest", "-n", "0", "-m", "gpu", "-rs", "-q", "tests/gcp/test_on_device.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert "torch finds no GPU on this machine" in done.stdout
    assert "skipped" in done.stdout
    assert "passed" not in done.stdout
    assert "deselected" not in done.stdout
