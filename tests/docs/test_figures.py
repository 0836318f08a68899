"""The figures of the pages: each is drawn, and shows what the pages say."""

from __future__ import annotations

import runpy

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "docs/figures"


def kernels(found):
    exact = found.pop("lyapunov, pade, original")
    assert (exact - 1).abs().max() < 1e-6
    assert found["pi, 5 iterations"].max() > 1.9
    assert found["pi, 5 iterations"].max() <= 2
    for name in ("taylor, degree 10", "lorentz, width 0.1", "trunc, limit 10"):
        assert found[name].max() <= 1 + 1e-6
        assert found[name][-1] < 0.1  # nearly equal eigenvalues
    for name in ("newton, 6 iterations", "halley, 3 iterations"):
        assert (found[name][-1] - 1).abs() < 0.01


def gradient_error(found):
    by_torch = found.errors["torch.linalg.eigh"]
    assert by_torch[0] < 1e-5
    assert by_torch[-3:].nan_to_num(1).max() > 1e-2
    assert max(found.errors[name].max() for name in ("pade", "lyapunov")) < 1e-6  # a few roundings of float32
    assert found.factors[-1] > 50 * found.kernels[-1]
    assert found.factors[-1] > found.factors[1]


CLAIMS = {claim.__name__: claim for claim in (kernels, gradient_error)}


def test_each_has_a_claim_and_a_page():
    assert {file.stem for file in FOLDER.glob("*.py")} == set(CLAIMS)
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    assert all(f"(figures/{name}.png)" in pages and f"(figures/{name}.py)" in pages for name in CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_it_shows_what_the_pages_say(name, tmp_path):
    figure = runpy.run_path(str(FOLDER / f"{name}.py"))
    found = figure["run"]()
    figure["picture"](found).savefig(tmp_path / "picture.png")
    CLAIMS[name](found)
