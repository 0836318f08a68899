"""What eigh, svd and pca take, and how they refuse anything else."""

from __future__ import annotations

import pytest
import torch

import gcp
from gcp.errors import (
    DerivativeError,
    DtypeError,
    NonFiniteError,
    OptionError,
    OptionTypeError,
    ShapeError,
    UnknownNameError,
)
from gcp.methods import METHODS, register_method
from gcp.methods.table import VECTORS
from tests.gcp.linalg.matrices import noise

A = noise(3, 3, seed=3)
WITHOUT_VECTORS = [name for name in gcp.list_methods() if name not in VECTORS]
MATRIX_FUNCTIONS = {
    name: getattr(gcp.linalg, name) for name in gcp.linalg.__all__ if name not in ("pca", "eigenprojector")
} | {"eigenprojector": lambda A: gcp.linalg.eigenprojector(A, 1)}


def test_the_methods_of_vectors():
    assert set(VECTORS) == {"pade", "taylor", "pi", "trunc", "topn", "original", "lorentz"}


@pytest.mark.parametrize("method", WITHOUT_VECTORS)
def test_methods_without_vectors_say_what_to_use(method):
    spectral = METHODS.get(method).kernel is not None
    for call in (lambda: gcp.linalg.eigh(A, method=method), lambda: gcp.linalg.svd(A, method=method)):
        with pytest.raises(OptionError, match=r"gcp.spectral_function.*taylor" if spectral else "pooling layer alone"):
            call()


def test_a_plugins_method(monkeypatch):
    """A weight serves layers and vectors; a kernel alone, layers."""
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    register_method("half", weight=lambda pairs, options: torch.full_like(pairs.tied, 0.5, dtype=torch.float64))
    register_method("layer_only", kernel=lambda spectrum, options: spectrum.divided_differences())
    x, y = (torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64)).requires_grad_() for _ in range(2))
    gcp.linalg.eigh(x, method="half").eigenvectors[0, 0].backward()
    gcp.linalg.eigh(y, method="pade").eigenvectors[0, 0].backward()
    torch.testing.assert_close(x.grad, y.grad / 2)
    grad = torch.autograd.grad(gcp.spectral_function(x, "sqrt", "half")[0, 1], x)[0]
    assert float(grad[0, 1]) == pytest.approx(1 / 12)
    with pytest.raises(OptionError, match="is the gradient of a function"):
        gcp.linalg.eigh(A, method="layer_only")
    with pytest.raises(OptionError, match="not both"):
        register_method("both", weight=lambda pairs, options: 1, quotient=lambda pairs, options: 1)


def test_refusals():
    linalg = gcp.linalg
    with pytest.raises(UnknownNameError, match="did you mean 'taylor'"):
        linalg.eigh(A, method="tailor")
    with pytest.raises(OptionError, match="did you mean 'degree'"):
        linalg.svd(A, degre=3)
    with pytest.raises(OptionError, match="degree must be at least 1"):
        linalg.svd(A, degree=0)
    for option in ("vectorisation", "nonfinite", "path", "shrinkage"):
        with pytest.raises(OptionError, match=f"no option '{option}' here"):
            linalg.eigh(A, **{option: "full"})
    with pytest.raises(OptionError, match="UPLO must be L or U"):
        linalg.eigh(A, "lower")
    with pytest.raises(OptionError, match="topn cannot keep n=4"):
        linalg.eigh(A, method="topn", n=4)
    with pytest.raises(OptionError, match="k must be 0 to 3"):
        linalg.eigenprojector(A, 4)
    with pytest.raises(OptionError, match="k must be 1 to 3, for 3 channels at 8 positions, got 4"):
        linalg.pca(noise(2, 3, 8), 4)
    with pytest.raises(ShapeError, match="transpose"):
        linalg.procrustes(noise(2, 3), rotation=False)
    with pytest.raises(DtypeError, match="rotation=False"):
        linalg.procrustes(A.to(torch.complex128))
    x = noise(1, 3, 8).requires_grad_()
    (grad,) = torch.autograd.grad(linalg.pca(x, 2, "pade").variances.sum(), x, create_graph=True)
    with pytest.raises(DerivativeError, match="principal components"):
        grad.sum().backward()


@pytest.mark.filterwarnings("ignore:ComplexHalf support")
@pytest.mark.parametrize("name", MATRIX_FUNCTIONS)
def test_wrong_input(name):
    function = MATRIX_FUNCTIONS[name]
    options = {"alpha": 0.5} if name == "singular_function" else {}
    for wrong, error in (
        (torch.ones(3), ShapeError),
        (torch.ones(3, 3, dtype=torch.int64), DtypeError),
        ([[1.0, 0.0], [0.0, 1.0]], DtypeError),
        (torch.stack([A, A * torch.inf]), NonFiniteError),
        (torch.eye(3).to(torch.float8_e4m3fn), DtypeError),
        (torch.eye(3).to_sparse(), DtypeError),
        (torch.eye(3, dtype=torch.complex64).to(torch.complex32), DtypeError),
    ):
        with pytest.raises(error):
            function(wrong, **options)
    if name not in ("svd", "svdvals", "polar", "singular_function"):
        with pytest.raises(ShapeError):
            function(torch.ones(2, 3))


@pytest.mark.parametrize("name", [name for name in MATRIX_FUNCTIONS if not name.endswith(("valsh", "vals"))])
def test_a_precision_that_is_none(name):
    options = {"alpha": 0.5} if name == "singular_function" else {}
    with pytest.raises(OptionError, match=r"precision must be one of mixed, float64, float32, got 'floot64' \(did"):
        getattr(gcp.linalg, name)(A, *((1,) if name == "eigenprojector" else ()), precision="floot64", **options)


def test_words_in_the_place_of_flags():
    """Such as a method, that torch.linalg's order of arguments has put there."""
    for call, name in (
        (lambda: gcp.linalg.svd(A, "pade"), "full_matrices"),
        (lambda: gcp.linalg.procrustes(A, "any"), "rotation"),
        (lambda: gcp.linalg.eigenprojector(A, 1, "smallest"), "largest"),
    ):
        with pytest.raises(OptionTypeError, match=f"{name} must be True or False"):
            call()


@pytest.mark.parametrize("name", MATRIX_FUNCTIONS)
def test_meta_tensors_have_shapes(name):
    options = {"alpha": 0.5} if name == "singular_function" else {}
    real, meta = (MATRIX_FUNCTIONS[name](matrix, **options) for matrix in (A, A.to("meta")))
    for one, other in zip(*(part if isinstance(part, tuple) else (part,) for part in (real, meta)), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert other.is_meta
