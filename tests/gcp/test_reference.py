"""Values and gradients of the published reference layers (tests/reference/*.npz)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.gcp.helpers import forward_backward, pooling, relative_error

FOLDER = Path(__file__).parent.parent / "reference"

# The reference works in double and returns float32, whose rounding is 6e-8: 1e-6 on full rank. Without full rank its
# own noise in the null space shows in the gradient: 1e-5.
CASES = [
    *[("layers_fullrank", name, {}, 1e-6) for name in ("original", "trunc", "taylor", "pade", "newton")],
    *[("layers_rankdef", name, {}, 1e-5) for name in ("original", "trunc", "taylor", "pade", "newton")],
    ("layers_topn", "topn", {"n": 14}, 1e-5),
    ("layers_topn", "original", {}, 1e-5),
]


@pytest.mark.parametrize(("file", "name", "options", "tolerance"), CASES)
def test_reference(file: str, name: str, options: dict[str, int], tolerance: float) -> None:
    with np.load(FOLDER / f"{file}.npz") as stored:
        values = {key: torch.from_numpy(stored[key]) for key in stored}
    x = values["x"].double()
    y, grad = forward_backward(pooling(name, x.shape[1], **options), x, values["grad_out"])
    assert relative_error(y, values[f"{name}.out"]) < tolerance
    assert relative_error(grad, values[f"{name}.grad"]) < tolerance


@pytest.mark.parametrize("name", ["original", "trunc", "taylor", "pade", "newton"])
def test_reference_tells_methods_apart(name: str) -> None:
    """The comparison above would notice a wrong kernel: newton's gradient is not that of the exact ones."""
    with np.load(FOLDER / "layers_fullrank.npz") as stored:
        x, gradient, other = (torch.from_numpy(stored[key]) for key in ("x", "grad_out", "newton.grad"))
    _, grad = forward_backward(pooling(name, x.shape[1]), x.double(), gradient)
    assert (relative_error(grad, other) < 1e-6) == (name == "newton")
