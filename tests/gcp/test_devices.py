"""What is computed for a tensor on a GPU is computed there: nothing made on the CPU, and few looks at values by it."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

import gcp
from gcp.errors import GaugeWarning
from gcp.linalg import __all__ as LINALG
from gcp.methods import METHODS, list_methods
from gcp.options import option_names
from tests.conftest import ROOT
from tests.gcp.host_reads import host_reads
from tests.gcp.pretended_gpu import run
from tests.gcp.variants import label, layer, variants
from tests.slow import slow_unless

SPECTRAL_LAYERS = [name for name in list_methods() if "nonfinite" in option_names(METHODS.get(name).options)]
QUICK = ("pade", "power", "cholesky", "isqrt")  # one of each kind
VARIANTS = {label(variant): variant for variant in variants()}


def definite(x: Tensor) -> Tensor:
    return x @ x.mT


FUNCTIONS = {
    **{
        f"spectral_function {f}": lambda x, f=f, options=options: gcp.spectral_function(definite(x), f, **options)
        for f, options in {
            "sqrt": {}, "inverse_sqrt": {"eps": 1e-3}, "power": {"alpha": 0.3}, "log": {"eps": 1e-3}, "exp_neg": {},
        }.items()
    },
    "spectral_function nan": lambda x: gcp.spectral_function(definite(x), nonfinite="nan"),
    "spectral_function zero": lambda x: gcp.spectral_function(definite(x), nonfinite="zero"),
    "spectral_function symmetric": lambda x: gcp.spectral_function(definite(x), check_symmetric=True),
    "covariance_function": lambda x: gcp.covariance_function(x),
    "covariance_function weights": lambda x: gcp.covariance_function(x, weights=torch.ones_like(x[:, 0])),
    "covariance_function shrinkage": lambda x: gcp.covariance_function(x, shrinkage=0.1),
    "covariance_function Ledoit-Wolf": lambda x: gcp.covariance_function(x, ledoit_wolf=True),
    "covariance_function refined": lambda x: gcp.covariance_function(x, solver="refined"),
    "matrix_root": lambda x: gcp.matrix_root(definite(x)),
    **{f"linalg.{name}": lambda x, name=name: getattr(gcp.linalg, name)(definite(x)) for name in (
        "eigh", "eigvalsh", "svd", "svdvals", "polar", "procrustes", "nearest_rotation", "smallest_eigenvector")},
    "linalg.svd wide": lambda x: gcp.linalg.svd(x),
    "linalg.eigenprojector": lambda x: gcp.linalg.eigenprojector(definite(x), 2),
    "linalg.pca": lambda x: gcp.linalg.pca(x, 2),
    "linalg.singular_function": lambda x: gcp.linalg.singular_function(x, "power", alpha=0.5),
}  # fmt: skip


def test_every_function_is_there() -> None:
    named = {name.removeprefix("linalg.").split()[0] for name in FUNCTIONS if name.startswith("linalg.")}
    assert {name for name in LINALG if name[0].islower()} <= named


@pytest.mark.parametrize("dtype", slow_unless([torch.float32], [torch.float32, torch.float64]))
@pytest.mark.parametrize("name", slow_unless(QUICK, VARIANTS))
def test_layers_make_nothing_on_the_cpu(name: str, dtype: torch.dtype) -> None:
    assert run(lambda: layer(VARIANTS[name], 6), 2, 6, 3, 5, dtype=dtype) == []


@pytest.mark.parametrize("name", slow_unless(["topn"], SPECTRAL_LAYERS))
def test_nor_do_they_without_checks(name: str) -> None:
    assert run(lambda: layer((name, {"nonfinite": "nan"}), 6), 2, 6, 3, 5) == []


@pytest.mark.parametrize("name", slow_unless(["spectral_function sqrt", "covariance_function Ledoit-Wolf"], FUNCTIONS))
def test_functions_make_nothing_on_the_cpu(name: str) -> None:
    assert run(lambda: FUNCTIONS[name], 2, 4, 6) == []


@pytest.mark.parametrize("training", [True, False])
def test_whitening_makes_nothing_on_the_cpu(training: bool) -> None:
    assert run(lambda: gcp.Whitening(4).train(training), 3, 4, 2, 2) == []


def test_what_is_made_on_the_cpu_is_found() -> None:
    assert "zeros" in run(lambda: lambda x: x + torch.zeros(()), 2, 3)
    with pytest.raises(RuntimeError, match="on the same device"):
        run(lambda: lambda x: x + torch.zeros(3), 2, 3)


def documented() -> dict[str, tuple[int, int | None, int]]:
    """Looks, those with nonfinite=nan and decompositions, by what docs/speed.md says."""
    table = (ROOT / "docs/speed.md").read_text().partition("<!-- looks: tested -->")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| `")
    ]
    return {
        name.strip("`").removeprefix("gcp."): (int(looks), int(without) if without else None, int(decompositions))
        for name, looks, without, decompositions in rows
    }


LOOKS = documented()
CALLS = {
    "spectral_function": FUNCTIONS["spectral_function sqrt"],
    **{name: FUNCTIONS[name] for name in LOOKS if name in FUNCTIONS},
}


@pytest.mark.parametrize("name", list_methods())
def test_layers_look_at_values_as_often_as_documented(name: str) -> None:
    looks, without, decompositions = LOOKS[name]
    assert host_reads(layer((name, {}), 6), 2, 6, 3, 5) == (looks, decompositions)
    has_option = "nonfinite" in option_names(METHODS.get(name).options)
    assert (without is not None) == has_option
    if has_option:
        assert host_reads(layer((name, {"nonfinite": "nan"}), 6), 2, 6, 3, 5) == (without, decompositions)


@pytest.mark.parametrize("name", CALLS)
def test_functions_look_at_values_as_often_as_documented(name: str) -> None:
    looks, _, decompositions = LOOKS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GaugeWarning)
        assert host_reads(CALLS[name], 2, 4, 6) == (looks, decompositions)


def test_all_that_is_documented_is_tested() -> None:
    assert set(LOOKS) == {*list_methods(), *CALLS}
    assert host_reads(FUNCTIONS["spectral_function nan"], 2, 4, 6)[0] == LOOKS["spectral_function"][1]


@pytest.mark.parametrize("name", SPECTRAL_LAYERS)
def test_a_sample_with_nan_gives_nan_and_no_other(name: str) -> None:
    x = torch.randn(3, 6, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[1, 2, 0, 1], x[2] = torch.nan, 1e200  # whose squares are infinite, where a method depends on the scale
    pool = layer((name, {"nonfinite": "nan"}), 6).double()
    x.requires_grad_()
    y = pool(x)
    y.sum().backward()
    assert y[1].isnan().all()
    assert not x.grad[1].isfinite().any()
    alone = x[:1].detach().requires_grad_()
    expected = layer((name, {}), 6).double()(alone)
    expected.sum().backward()
    assert torch.equal(y[:1], expected)
    torch.testing.assert_close(x.grad[:1], alone.grad, rtol=1e-13, atol=0)


def test_matrices_outside_the_domain_give_nan_and_no_other() -> None:
    A = torch.stack([torch.diag(torch.tensor([4.0, 1.0])), torch.diag(torch.tensor([4.0, -1.0])), torch.eye(2) / 0])
    roots = gcp.spectral_function(A, nonfinite="nan")
    assert torch.equal(roots[0], torch.diag(torch.tensor([2.0, 1.0])))
    assert roots[1:].isnan().all()
    assert not gcp.spectral_function(torch.zeros(2, 2), "inverse_sqrt", nonfinite="nan").isfinite().any()
