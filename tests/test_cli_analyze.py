"""mode=analyze: the published figures, the folder it leaves, and the sentences when something is wrong."""

from __future__ import annotations

import csv
import math

import pytest
import torch

from gcp.functions import covariance_function
from lightning_modules.analysis.bounds import bounds
from lightning_modules.analysis.gradients import SIZE, close_pair, error, geometric
from lightning_modules.analysis.timing import parts
from tests.small import SMALL

QUICK = ["analysis.steps=4", "analysis.every=2", "analysis.repeats=1", *SMALL, "hydra.run.dir=run"]


def read(file):
    with file.open() as stream:
        return list(csv.DictReader(stream))


def test_the_published_tables_are_reproduced(cli, tmp_path):
    outcome = cli("mode=analyze", "analysis.parts=[approximation,bounds]", *QUICK)
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "run/analysis"
    rows = {float(row["x"]): row for row in read(folder / "approximation.csv")}
    assert f"{float(rows[0.99]['taylor, float64']):.2g}" == "36"
    assert f"{float(rows[0.999]['taylor, float64']):.3g}" == "904"
    assert float(rows[0.999]["pade, float64"]) < 1e-9
    here = {row["method"]: float(row["here"]) for row in read(folder / "bounds.csv")}
    assert {name: f"{here[name]:.2e}" for name in ("taylor", "trunc", "topn")} == {
        "taylor": "4.55e+17",
        "trunc": "1.00e+10",
        "topn": "4.50e+15",
    }
    solved = [abs(float(row["P(1)/Q(1)"])) for row in read(folder / "bounds_solved_pade.csv")]
    assert max(solved) > 3 * min(solved)  # noise, not a bound
    index = (folder / "index.md").read_text()
    assert "approximation.png" in index
    assert (folder / "bounds.png").read_bytes().startswith(b"\x89PNG")


def test_the_pade_bound_in_words_is_the_one_of_the_table():
    part = bounds()
    assert "4.06e31" in part.text
    assert any(f"{row[3]:.2e}" == "4.06e+31" for row in part.tables[0].rows)


def test_taylor_fails_near_ratio_one_and_lyapunov_does_not():
    assert error("taylor", "float64", close_pair(1e-4)) > 1e-2
    assert error("lyapunov", "float64", close_pair(1e-4)) < 1e-13
    assert error("taylor", "float64", geometric(1e3)) < 1e-12


@pytest.mark.parametrize(
    "names", [["smoothness", "time"], pytest.param(["gradients"], marks=pytest.mark.slow)], ids=", ".join
)
def test_parts_that_compute(cli, tmp_path, summary_of, names):
    outcome = cli("mode=analyze", f"analysis.parts=[{','.join(names)}]", *QUICK)
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "run/analysis"
    assert {file.stem for file in folder.glob("*.png")} == set(names)
    if "smoothness" in names:
        steps = read(folder / "smoothness_steps.csv")
        assert {row["method"] for row in steps} == {"isqrt", "original", "pade"}
        assert all(math.isfinite(float(row["beta"])) and float(row["condition"]) >= 1 for row in steps)
    if "time" in names:
        for row in read(folder / "time.csv"):
            *phases, total = [float(value) for name, value in row.items() if name.endswith(" ms")]
            assert sum(phases) == pytest.approx(total, rel=1e-12)  # rounding of the sum
            assert min(phases) >= 0
    assert summary_of(tmp_path / "run")["status"] == "ok"
    assert all(f"{name}.png" in (folder / "index.md").read_text() for name in names)


@pytest.mark.parametrize("timed", [(2, 1, 1, 6, 4), (9, 1, 1, 6, 4), (2, 9, 1, 6, 4), (2, 1, 9, 6, 4)])
def test_the_parts_of_a_time_add_up_whatever_was_timed(timed):
    found = parts(*timed)
    assert sum(found) == timed[3] + timed[4]
    assert min(found) >= 0


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("analysis.parts=[gradient]", "analysis.parts has no 'gradient' (did you mean 'gradients'?)"),
        ("analysis.steps=0", "analysis.steps must be at least 2, got 0"),
    ],
)
def test_one_sentence(cli, argument, sentence):
    outcome = cli("mode=analyze", argument)
    assert outcome.code == 1
    assert sentence in outcome.err


def test_what_the_page_says_of_float32_matrices_and_of_features():
    """Null eigenvalues of a float32 matrix are up to 3e-6 of the largest; features of the same spectrum keep theirs."""
    assert error("lyapunov", "mixed", geometric(1e5)) < 1e-6  # rounding of the products in float32
    assert error("lyapunov", "mixed", geometric(1e6)) > 0.1  # what a null eigenvalue had to give
    generator = torch.Generator().manual_seed(0)
    Q, _ = torch.linalg.qr(torch.randn(64, SIZE + 1, dtype=torch.float64, generator=generator))
    V, _ = torch.linalg.qr(Q - Q.mean(0))  # orthogonal to the mean over positions
    U, _ = torch.linalg.qr(torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator))
    features = (U * geometric(1e6).sqrt() @ V[:, :SIZE].mT).float()[None].requires_grad_()
    exact = features.detach().double().requires_grad_()
    weights = torch.randn(1, SIZE, SIZE, dtype=torch.float64, generator=generator)
    for given, precision in ((features, "mixed"), (exact, "float64")):
        root = covariance_function(given, "sqrt", "lyapunov", precision=precision)
        (root * weights).sum().backward()
    off = torch.linalg.vector_norm(features.grad - exact.grad) / torch.linalg.vector_norm(exact.grad)
    assert off < 1e-5  # measured 6e-6 over six decades at most: design of the mixed precision
