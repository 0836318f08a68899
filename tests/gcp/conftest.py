"""``pytest -m gpu`` runs every test of this folder on this machine's accelerator; otherwise they run on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.gcp.on_device import OnDevice


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test once more, for `device`, when GPUs are asked for: nothing is collected in vain otherwise."""
    if "gpu" in metafunc.config.getoption("markexpr"):
        found = torch.accelerator.current_accelerator(check_available=True)
        kind = "cuda" if found is None else found.type
        metafunc.parametrize("device", [pytest.param(kind, marks=pytest.mark.gpu)], indirect=True)


@pytest.fixture(autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Where tensors are that a test makes without saying where."""
    kind = getattr(request, "param", "cpu")
    if kind == "cpu":
        yield torch.device(kind)
        return
    if not torch.accelerator.is_available():
        pytest.skip("torch finds no GPU on this machine")
    with OnDevice(kind):
        yield torch.device(kind)
