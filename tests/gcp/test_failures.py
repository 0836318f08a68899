"""Decompositions that do not converge: repaired for that sample alone, counted, or a typed error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from gcp.errors import DecompositionError, OptionError
from gcp.pooling.factory import create_pooling
from gcp.spectral import lapack
from gcp.spectral.lapack import FAILURES, Failures
from tests.gcp.helpers import forward_backward, grad_out, noise, relative_error

MARK = 8.0  # above every entry of the other samples, and 1e3 times it is still decomposed in its own units


@pytest.fixture(autouse=True)
def fresh_counter() -> Iterator[None]:
    FAILURES.take()
    yield
    FAILURES.take()


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whole batch at once, and shared out matrix by matrix."""
    monkeypatch.setattr(lapack, "WORTHWHILE", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def failing(monkeypatch: pytest.MonkeyPatch, decomposition: str, retries: int) -> None:
    """Make the decomposition fail for the marked sample, and for its first ``retries`` retries."""
    plain = getattr(lapack, decomposition)
    left = [retries]

    def stand_in(matrix: Tensor) -> tuple[Tensor, ...]:
        rescaled = abs(float(matrix.trace() if decomposition == "plain_eigh" else matrix.norm()) - 1) < 1e-4
        if rescaled and left[0] > 0:
            left[0] -= 1
            raise lapack.LinAlgError("not converged")
        if matrix.abs().max() > MARK:
            raise lapack.LinAlgError("not converged")
        return plain(matrix)

    def batched(matrix: Tensor) -> tuple[Tensor, ...]:
        if matrix.dim() == 2:
            return stand_in(matrix)
        if matrix.abs().max() > MARK:
            raise lapack.LinAlgError("one of the batch has not converged")
        return plain(matrix)

    monkeypatch.setattr(lapack, decomposition, batched)


def batch() -> tuple[Tensor, Tensor]:
    x = noise(4, 5, 3, 3)
    x[2] *= 1e3 * MARK
    return x, grad_out(5, 4)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("precision", "decomposition"), [("float64", "plain_eigh"), ("float32", "plain_svd")])
@pytest.mark.parametrize(("retries", "counted"), [(0, Failures(rescaled=1)), (1, Failures(jittered=1))])
def test_retries(
    monkeypatch: pytest.MonkeyPatch, retries: int, counted: Failures, precision: str, decomposition: str
) -> None:
    """The sample comes out right, its neighbours as before, and it is counted once, as what helped.

    On a CPU there is no step "on the CPU" in between.
    """
    x, gradient = batch()
    layer = create_pooling("lyapunov", 5, precision=precision)
    expected = forward_backward(layer, x, gradient)
    assert not FAILURES.read()
    with monkeypatch.context() as patched:
        failing(patched, decomposition, retries)
        found = forward_backward(layer, x, gradient)
    assert FAILURES.take() == counted
    assert FAILURES.read() == Failures()
    others = torch.tensor([0, 1, 3])
    tolerance = 1e-9 if precision == "float64" else 1e-4
    for got, plain in zip(found, expected, strict=True):
        # Decomposed alone, not in a batch: on some processors the last bits depend on a matrix's place in memory.
        assert relative_error(got[others], plain[others]) < tolerance * 1e-3
        assert relative_error(got[2], plain[2]) < tolerance


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("precision", "decomposition"), [("mixed", "plain_eigh"), ("float32", "plain_svd")])
def test_nothing_helps(monkeypatch: pytest.MonkeyPatch, precision: str, decomposition: str) -> None:
    x, _ = batch()
    failing(monkeypatch, decomposition, 100)
    with pytest.raises(DecompositionError, match="sample 2 of 4") as error:
        create_pooling("pade", 5, precision=precision)(x)
    assert error.value.samples == (2,)
    assert FAILURES.take() == Failures()


def test_zeroed_samples_are_counted() -> None:
    x = noise(3, 5, 3, 3)
    x[0, 0, 0, 0] = float("nan")
    x[1, 0, 0, 0] = float("inf")
    create_pooling("pade", 5, nonfinite="zero")(x)
    assert FAILURES.take() == Failures(zeroed=2)
    assert not FAILURES.read()


def test_unknown_choice() -> None:
    with pytest.raises(OptionError, match="nonfinite must be one of raise, zero, nan"):
        create_pooling("pade", 5, nonfinite="ignore")
