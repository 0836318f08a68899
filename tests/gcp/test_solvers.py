"""Ways to decompose in float64: the same numbers on each, whatever the matrices."""

from __future__ import annotations

import pytest
import torch

import gcp
from gcp.errors import OptionError, SpeedWarning
from gcp.spectral import lapack, solvers
from gcp.spectral.lapack import LARGEST_BATCH, warn_of_slow_batches
from gcp.spectral.refined import refined_eigh
from gcp.spectral.spectral_options import SOLVERS
from tests.gcp.helpers import SPECTRAL, forward_backward, grad_out, noise, orthogonal, pooling, relative_error
from tests.gcp.helpers import with_spectrum as features_with

SIZE = 40
DECADES = {f"{decades} decades": torch.logspace(0, -decades, SIZE, dtype=torch.float64) for decades in (2, 4, 6, 9)}
SPECTRA = {
    **DECADES,
    "identity": torch.ones(SIZE, dtype=torch.float64),
    "two levels": torch.tensor([1.0] * 10 + [1e-5] * 30, dtype=torch.float64),
    "close": 1 + 1e-9 * torch.arange(SIZE, dtype=torch.float64),
    "close and small": torch.cat([torch.ones(20), 1e-5 * (1 + 1e-7 * torch.arange(20))]).double(),
    "deficient": torch.cat([torch.logspace(0, -3, 15), torch.zeros(25)]).double(),
    "null": torch.zeros(SIZE, dtype=torch.float64),
    "indefinite": torch.linspace(-1, 1, SIZE, dtype=torch.float64),
}


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
def test_refined_eigenpairs_are_those_of_float64(spectrum, scale):
    U = orthogonal(SIZE)
    matrix = scale * (U * spectrum) @ U.T
    values, vectors = refined_eigh(matrix)
    eye = torch.eye(SIZE, dtype=torch.float64)
    assert (vectors.T @ vectors - eye).abs().max() < 1e-13
    assert (values.diff() >= 0).all()
    expected = torch.linalg.eigvalsh(matrix)
    largest = expected.abs().max()
    # Eigenvalues that float32 cannot tell apart share their vectors: off the diagonal it leaves what they differ by.
    tolerance = 1e-7 if spectrum is SPECTRA["close"] or spectrum is SPECTRA["close and small"] else 1e-13
    assert (values - expected).abs().max() <= tolerance * largest
    left = vectors.T @ matrix @ vectors - values.diag()
    assert left.abs().max() <= tolerance * largest


def test_refined_eigenpairs_of_hermitian_matrices():
    A = torch.complex(noise(2, 9, 9), noise(2, 9, 9, seed=1))
    matrix = A @ A.mH
    values, vectors = refined_eigh(matrix)
    torch.testing.assert_close((vectors * values.unsqueeze(-2)) @ vectors.mH, matrix)
    torch.testing.assert_close(values, torch.linalg.eigvalsh(matrix))


@pytest.mark.parametrize("solver", SOLVERS[1:])
@pytest.mark.parametrize("name", SPECTRAL)
def test_layers_give_the_same_whatever_the_solver(name, solver):
    """Spectra over six decades, where a decomposition in float32 alone leaves a few per cent of the gradient right."""
    x = torch.cat([features_with(torch.logspace(0, -6, 8).tolist(), 12, seed=seed)[0] for seed in (0, 5)])
    gradient = grad_out(8, 2)
    for path in ("gram", "dense"):
        expected = forward_backward(pooling(name, 8, path=path), x, gradient)
        found = forward_backward(pooling(name, 8, path=path, solver=solver), x, gradient)
        for got, wanted in zip(found, expected, strict=True):
            assert relative_error(got, wanted) < 1e-8  # rounding of 2e-16 times the condition of 1e6, and a margin


def test_functions_of_matrices_take_the_solver_too():
    matrix = torch.diag(torch.tensor([4.0, 1.0, 1e-7]))
    called = []

    def spy(batch):
        called.append(len(batch))
        return lapack.eigh(batch)

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(solvers.WAYS, "refined", spy)
        found = gcp.spectral_function(matrix, solver="refined")
        assert called == [1]
    torch.testing.assert_close(found, gcp.spectral_function(matrix))


def test_the_fastest_is_measured_once_for_batches_alike(monkeypatch):
    timed = []

    def seconds(way, matrix):
        timed.append(way)
        return {solvers.WAYS["device"]: 2.0, solvers.WAYS["refined"]: 1.0}[way]

    monkeypatch.setattr(solvers, "_FOUND", {})
    monkeypatch.setattr(solvers, "_seconds", seconds)
    eye = torch.eye(3, dtype=torch.float64).expand(5, 3, 3)
    assert [solvers.fastest(eye), solvers.fastest(eye[:4])] == ["refined"] * 2
    assert timed == [solvers.WAYS["device"], solvers.WAYS["refined"]]  # on a CPU there is no way to the CPU
    solvers.fastest(eye[:3])
    assert len(timed) == 4


def test_a_solver_without_float64_is_refused():
    with pytest.raises(OptionError, match="solver=refined is for decompositions in float64"):
        gcp.create_pooling("pade", 8, precision="float32", solver="refined")


@pytest.mark.parametrize("precision", ["mixed", "float32"])
def test_large_batches_are_decomposed_in_chunks(monkeypatch, precision):
    x, gradient = noise(7, 4, 3, 3), grad_out(4, 7)
    layer = pooling("lyapunov", 4, precision=precision)
    expected = forward_backward(layer, x, gradient)
    sizes = []

    def recorded(plain):
        def decompose(batch):
            sizes.append(len(batch))
            return plain(batch)

        return decompose

    for name in ("plain_eigh", "plain_svd"):
        monkeypatch.setattr(lapack, name, recorded(getattr(lapack, name)))
    monkeypatch.setattr(lapack, "LARGEST_BATCH", 3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # the whole batch at once, as on a GPU
    found = forward_backward(layer, x, gradient)
    assert sizes == [3, 3, 1]
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)  # the last bits are those of a place in memory
    assert LARGEST_BATCH < 32_000


def test_old_torch_on_cuda_is_warned_of():
    with pytest.warns(SpeedWarning, match=r"torch 2\.11\.0\+cu130 .* 2\.12 or newer"):
        warn_of_slow_batches("cuda", 33, "2.11.0+cu130")


@pytest.mark.parametrize(
    ("kind", "rows", "version"), [("cpu", 99, "2.11.0"), ("cuda", 32, "2.11"), ("cuda", 99, "2.12.0a0")]
)
@pytest.mark.filterwarnings("error")
def test_nothing_else_is_warned_of(kind, rows, version):
    warn_of_slow_batches(kind, rows, version)
