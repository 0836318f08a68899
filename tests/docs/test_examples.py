"""The examples of docs/examples: each runs, and shows what it says."""

from __future__ import annotations

import runpy

import pytest

from tests.conftest import ROOT
from tests.slow import slow_unless

FOLDER = ROOT / "docs/examples"


def low_rank_layer(found):
    assert len(found["torch.linalg.svd"].errors) == 1  # NaN in the first step
    assert (found["gcp.linalg"].values[-1] > 1e-4).sum() == 3  # but for rounding of float32
    assert (found["full rank"].values[-1] > 1e-4).all()
    assert found["gcp.linalg"].errors[-1] < 0.5 * found["full rank"].errors[-1]


CLAIMS = {claim.__name__: claim for claim in (low_rank_layer,)}


def test_each_has_a_claim_and_a_paragraph_with_its_picture():
    assert {file.stem for file in FOLDER.glob("*.py")} == set(CLAIMS)
    page = (FOLDER / "README.md").read_text()
    for name in CLAIMS:
        assert f"({name}.py)" in page
        assert f"({name}.png)" in page
        assert (FOLDER / f"{name}.png").stat().st_size < 100_000


@pytest.mark.parametrize("name", slow_unless(["low_rank_layer"], CLAIMS))
def test_it_shows_what_it_says(name, tmp_path):
    example = runpy.run_path(str(FOLDER / f"{name}.py"))
    found = example["run"]()
    CLAIMS[name](found)
    example["picture"](found).savefig(tmp_path / "picture.png")
