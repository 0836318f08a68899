"""Which function goes through which of torch's transforms: the rows that tests check and docs/composability.md shows.

``python -m tests.gcp.composability`` writes the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

import gcp
from gcp.linalg import (
    eigenprojector,
    eigh,
    eigvalsh,
    nearest_rotation,
    pca,
    polar,
    procrustes,
    singular_function,
    smallest_eigenvector,
    svd,
    svdvals,
)  # fmt: skip
from tests.gcp.linalg.matrices import COMPLEX, REAL, noise, with_eigenvalues, with_singular_values

Function = Callable[[Tensor], Tensor]
PAGE = Path(__file__).parents[2] / "docs" / "composability.md"
EXACT, OWN = "exact", "own"


@dataclass(frozen=True)
class Row:
    """A function of one tensor.

    Attributes:
        function: of the tensor; what it returns has no gauge.
        at: the tensor, of a dtype.
        cells: of transforms that are not exact: `OWN`, the method's own gradient, or the sentence of the error.
    """

    function: Function
    at: Callable[[torch.dtype], Tensor]
    cells: Mapping[str, str] = field(default_factory=dict)


def tied(dtype: torch.dtype) -> Tensor:
    """A positive definite matrix with a double eigenvalue."""
    return with_eigenvalues([2.0, 2.0, 0.5], dtype)


def apart(dtype: torch.dtype) -> Tensor:
    return with_eigenvalues([2.0, 1.0, 0.5], dtype)


def rectangular(dtype: torch.dtype) -> Tensor:
    return with_singular_values([2.0, 2.0, 0.5], (4, 3), dtype)


def singular_apart(dtype: torch.dtype) -> Tensor:
    return with_singular_values([2.0, 1.0, 0.5], (4, 3), dtype)


def turned(dtype: torch.dtype) -> Tensor:
    """With a negative determinant, and a double singular value."""
    A = with_singular_values([2.0, 2.0, 0.5], (3, 3), dtype)
    return A if dtype.is_complex or torch.linalg.det(A) < 0 else A * torch.tensor([1, 1, -1], dtype=dtype)


def features(dtype: torch.dtype) -> Tensor:
    """Two samples of four channels and 2 x 2 positions: of rank 3."""
    return noise(2, 4, 2, 2, dtype=dtype)


def exponent(dtype: torch.dtype) -> Tensor:
    return torch.tensor(0.4, dtype=dtype)


def hermitian(function: Function) -> Function:
    """``function`` of the Hermitian part, for those that read one triangle."""
    return lambda A: function((A + A.mH) / 2)


def magnitudes(parts: tuple[Tensor, ...]) -> Tensor:
    """What is left of singular vectors when their phases are free."""
    return torch.cat([part.abs().flatten() for part in parts])


def whitening() -> nn.Module:
    layer = gcp.Whitening(4, dtype=torch.float64)
    layer(noise(8, 4, 2, 2, seed=5) * torch.tensor([1.0, 2, 3, 4], dtype=REAL)[:, None, None])
    return layer.eval()


WHITENING = whitening()


def no_derivative(name: str) -> dict[str, str]:
    """Cells of a method that is deliberately no derivative."""
    said = (
        f"method '{name}' has no {{}}: its gradient is no exact derivative, or loses digits between close eigenvalues, "
        "and more of them if derived again; use method 'lyapunov', or only the gradient"
    )
    forward = dict.fromkeys(("hessian", "forward mode", "jacfwd"), said.format("derivatives in forward mode"))
    own = dict.fromkeys(("gradient", "complex", "jacrev"), OWN)
    return own | forward | {"second derivative": said.format("second derivatives")}


def no_second(said: str) -> dict[str, str]:
    """Cells of a function that has first derivatives."""
    return {"second derivative": said, "hessian": said}


OF_VECTORS = dict.fromkeys(("gradient", "complex", "jacrev", "forward mode", "jacfwd"), OWN) | no_second(
    "method 'taylor' has no second derivatives here, since its gradient is deliberately not the exact derivative; use "
    "method 'pade' or 'original', or a function that needs no vectors, such as gcp.linalg.eigenprojector, "
    "gcp.linalg.polar or gcp.spectral_function"
)
NO_COMPLEX = "{} must be floating point, got complex128"
REAL_FEATURES = {"complex": NO_COMPLEX.format("features")}
REVERSE_ONLY = (
    "forward-mode derivatives are not implemented; use reverse mode: torch.func.jacrev(torch.func.grad(f)) in place of "
    "torch.func.hessian(f)"
)
SINE = (torch.sin, torch.cos)

ROWS: dict[str, Row] = {
    "spectral_function(P)": Row(gcp.spectral_function, tied),
    'spectral_function(P, "inverse_sqrt")': Row(lambda P: gcp.spectral_function(P, "inverse_sqrt"), tied),
    'spectral_function(P, "power", alpha=0.3)': Row(lambda P: gcp.spectral_function(P, "power", alpha=0.3), tied),
    'spectral_function(P, "log", eps=0.1)': Row(lambda P: gcp.spectral_function(P, "log", eps=0.1), tied),
    'spectral_function(P, "exp_neg")': Row(lambda P: gcp.spectral_function(P, "exp_neg"), tied),
    "spectral_function(P, (torch.sin, torch.cos))": Row(lambda P: gcp.spectral_function(P, SINE), tied),
    'spectral_function(P, method="taylor")': Row(
        lambda P: gcp.spectral_function(P, method="taylor", degree=2), apart,
        no_derivative("taylor"),
    ),
    "covariance_function(x)": Row(gcp.covariance_function, features),
    'covariance_function(x, "inverse_sqrt", eps=0.1)': Row(
        lambda x: gcp.covariance_function(x, "inverse_sqrt", eps=0.1), features
    ),
    'covariance_function(x, "power", alpha=0.3)': Row(
        lambda x: gcp.covariance_function(x, "power", alpha=0.3), features
    ),
    'covariance_function(x, "log", eps=0.1)': Row(
        lambda x: gcp.covariance_function(x, "log", eps=0.1), features
    ),
    'covariance_function(x, "exp_neg")': Row(
        lambda x: gcp.covariance_function(x, "exp_neg"), features
    ),
    "covariance_function(x, (torch.sin, torch.cos))": Row(
        lambda x: gcp.covariance_function(x, SINE), features
    ),
    'covariance_function(x, "log", shrinkage=0.1)': Row(
        lambda x: gcp.covariance_function(x, "log", eps=0.1, shrinkage=0.1), features,
        REAL_FEATURES | no_second(
            "second derivatives of shrunk covariances are not implemented; leave shrinkage and ledoit_wolf out"
        ),
    ),
    'covariance_function(x, method="taylor")': Row(
        lambda x: gcp.covariance_function(x, method="taylor", degree=2), features,
        no_derivative("taylor"),
    ),
    "matrix_root(P)": Row(
        gcp.matrix_root, tied,
        no_second("second derivatives of a matrix root by approximants are not implemented; use isqrt")
        | dict.fromkeys(("forward mode", "jacfwd", "hessian"), REVERSE_ONLY)
        | {"gradient": OWN}
        | {"complex": NO_COMPLEX.format("matrix")},
    ),
    "Whitening in eval": Row(lambda x: WHITENING(x), features, REAL_FEATURES),
    "linalg.eigvalsh(A)": Row(hermitian(eigvalsh), apart),
    'linalg.eigh(A, method="pade")': Row(hermitian(lambda A: magnitudes(eigh(A, method="pade"))), apart),
    'linalg.eigh(A, method="taylor")': Row(
        hermitian(lambda A: magnitudes(eigh(A, method="taylor", degree=2))), apart, OF_VECTORS
    ),
    "linalg.svdvals(A)": Row(svdvals, singular_apart),
    'linalg.svd(A, method="pade")': Row(lambda A: magnitudes(svd(A, method="pade")), singular_apart),
    'linalg.svd(A, method="taylor")': Row(
        lambda A: magnitudes(svd(A, method="taylor", degree=2)), singular_apart, OF_VECTORS
    ),
    'linalg.pca(x, 2, method="pade")': Row(
        lambda x: magnitudes(pca(x, 2, method="pade")), features,
        REAL_FEATURES | no_second(
            "principal components have no second derivatives; use gcp.linalg.eigh of the covariance with method "
            "'pade', or gcp.linalg.eigenprojector"
        ),
    ),
    "linalg.polar(A)": Row(polar, rectangular),
    "linalg.procrustes(A, rotation=False)": Row(lambda A: procrustes(A, rotation=False), rectangular),
    "linalg.nearest_rotation(A)": Row(
        nearest_rotation, turned, {"complex": "rotations are real; for the nearest unitary matrix set rotation=False"}
    ),
    "linalg.eigenprojector(A, 2)": Row(lambda A: eigenprojector(A, 2), tied),
    "linalg.smallest_eigenvector(A)": Row(smallest_eigenvector, tied),
    'linalg.singular_function(A, "power")': Row(
        lambda A: singular_function(A, "power", alpha=0.5), rectangular,
        no_second("second derivatives of a function of singular values are not implemented")
        | {"hessian": REVERSE_ONLY},
    ),
}  # fmt: skip


def loss(row: Row) -> Function:
    """One real number of the function's result, not linear in it."""
    weights = noise(*row.function(row.at(REAL)).shape, seed=7)

    def of_result(x: Tensor) -> Tensor:
        return (row.function(x) ** 2 * weights).sum()

    return of_result


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def gradient(row: Row, dtype: torch.dtype = REAL) -> None:
    """By differences; a method's own must not agree with them."""
    own = "gradient" if dtype == REAL else "complex"
    assert gradcheck(row.function, row.at(dtype).requires_grad_(), raise_exception=False) is (row.cells.get(own) != OWN)


def in_complex_numbers(row: Row) -> None:
    gradient(row, COMPLEX)


def second_derivative(row: Row) -> None:
    """By differences of the gradient, and asked for by autograd.grad twice."""
    x = row.at(REAL).requires_grad_()
    (first,) = torch.autograd.grad(loss(row)(x), x, create_graph=True)
    torch.autograd.grad(first.sum(), x)
    assert gradgradcheck(row.function, x)


def forward_mode(row: Row) -> None:
    x = row.at(REAL)
    if row.cells.get("forward mode") != OWN:
        assert gradcheck(row.function, x.requires_grad_(), check_forward_ad=True, check_backward_ad=False)
    jacfwd(row)


def hessian(row: Row) -> None:
    x = row.at(REAL)
    found = torch.func.hessian(loss(row))(x)
    close(found, torch.func.jacrev(torch.func.jacrev(loss(row)))(x))


def vmap(row: Row) -> None:
    """Of the function and of its gradient."""
    batch = torch.stack([row.at(REAL), 2 * row.at(REAL)])
    close(torch.func.vmap(row.function)(batch), torch.stack([row.function(x) for x in batch]))
    gradients = torch.stack([torch.autograd.functional.jacobian(loss(row), x) for x in batch])
    close(torch.func.vmap(torch.func.grad(loss(row)))(batch), gradients)


def jacrev(row: Row) -> None:
    close(torch.func.jacrev(row.function)(row.at(REAL)), torch.autograd.functional.jacobian(row.function, row.at(REAL)))


def jacfwd(row: Row) -> None:
    close(torch.func.jacfwd(row.function)(row.at(REAL)), torch.autograd.functional.jacobian(row.function, row.at(REAL)))


def compiled(row: Row, dynamic: bool | None = None) -> None:
    """In one graph, forward and backward; batches of two sizes where sizes vary."""
    torch._dynamo.reset()
    network = torch.compile(row.function, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    x = row.at(REAL)
    for each in (x, torch.cat([x, x]) if x.dim() > 2 else torch.stack([x, 2 * x, 3 * x])) if dynamic else (x,):
        found, expected = (each.clone().requires_grad_() for _ in range(2))
        outcome, reference = network(found), row.function(expected)
        close(outcome, reference)
        (outcome**2).sum().backward()
        (reference**2).sum().backward()
        assert found.grad is not None
        close(found.grad, expected.grad)


def compiled_for_any_size(row: Row) -> None:
    compiled(row, dynamic=True)


def exported(row: Row) -> None:
    """A program that knows nothing of this library."""

    class Layer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return row.function(x)

    x = row.at(REAL)
    program = torch.export.export(Layer(), (x,))
    close(program.module()(x), row.function(x))
    assert "gcp" not in program.graph_module.code.replace("gcp_lambda", "")


TRANSFORMS: dict[str, Callable[[Row], None]] = {
    "gradient": gradient,
    "complex": in_complex_numbers,
    "second derivative": second_derivative,
    "forward mode": forward_mode,
    "hessian": hessian,
    "vmap": vmap,
    "jacrev": jacrev,
    "jacfwd": jacfwd,
    "compile": compiled,
    "compile, any size": compiled_for_any_size,
    "export": exported,
}  # fmt: skip

INTRODUCTION = """# What composes with what

Functions against torch's transforms, in float64. Each cell is what a test found: *exact*, or the number of the error,
a `DerivativeError` or `DtypeError` of `gcp.errors`. *Own*: the gradient of a method that deliberately is not the
derivative, or of an approximated root; it is the same in every way of asking. The inputs have a double eigenvalue, or
singular value, wherever the function has a derivative there.

- gradient, complex: `gradcheck` with real and with complex input, Hermitian or any.
- second derivative: `gradgradcheck`, and `torch.autograd.grad` twice; forward mode: `gradcheck` of `jvp`.
- hessian: `torch.func.hessian`, against `jacrev(jacrev(f))`. Forward mode inside forward mode, `jacfwd(jacfwd(f))`, is
  an error everywhere, since torch would answer 0.
- compile: `torch.compile(fullgraph=True)`, forward and backward; any size: with `dynamic=True`, for two shapes. Options
  are constants of the program. An exponent that is a tensor needs `positive=True`.
- export: `torch.export.export`, a program that runs without this library.

"""


def page() -> str:
    """docs/composability.md."""
    errors: list[str] = []
    lines = [f"| | {' | '.join(TRANSFORMS)} |", "|---" * (len(TRANSFORMS) + 1) + "|"]
    for name, row in ROWS.items():
        cells = [row.cells.get(transform, EXACT) for transform in TRANSFORMS]
        errors += [cell for cell in dict.fromkeys(cells) if cell not in (EXACT, OWN, *errors)]
        shown = [cell if cell in (EXACT, OWN) else f"error {1 + errors.index(cell)}" for cell in cells]
        lines.append(f"| `{name}` | {' | '.join(shown)} |")
    listed = [f"{number}. {sentence}" for number, sentence in enumerate(errors, 1)]
    return INTRODUCTION + "\n".join([*lines, "", "Errors:", "", *listed, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
