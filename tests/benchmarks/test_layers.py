"""The benchmark counts correctly and runs to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.layers import main
from benchmarks.measure import saved_bytes
from benchmarks.oracle import exact
from gcp.pooling.factory import create_pooling


def test_saved_bytes_counts_each_new_storage_once() -> None:
    x = torch.randn(10, dtype=torch.float64, requires_grad=True)

    def forward() -> torch.Tensor:
        y = x.exp()  # keeps y: 80 bytes
        return y * y[:] * x  # y and its view once, x existed; y * y is kept: 80 bytes

    assert saved_bytes(forward, [x]) == 160


def test_oracle_agrees_with_lyapunov() -> None:
    x = torch.randn(2, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(2, 21, dtype=torch.float64)
    value = create_pooling("lyapunov", 6, precision="float64")(x)
    (gradient,) = torch.autograd.grad(value, x, grad)
    torch.testing.assert_close((value.detach(), gradient), exact(x, grad))


@pytest.mark.slow
def test_quick_run_writes_its_files(tmp_path: Path) -> None:
    main(["--quick", "--methods", "pade", "newton", "lorentz", "--device", "cpu", "--out", str(tmp_path)])
    report = json.loads((tmp_path / "layers.json").read_text())
    assert [case["shape"] for case in report["cases"]] == ["16x3x3", "16x5x5"]
    page = (tmp_path / "layers.md").read_text()
    assert "gcp newton" in page
    assert "classical pade" in page
    assert "gcp lorentz" in page
    assert "classical lorentz" not in page  # no published code has it
    assert (tmp_path / "layers.png").stat().st_size > 0
