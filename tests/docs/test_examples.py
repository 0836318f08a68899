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


def procrustes_of_symmetric_shapes(found):
    by_torch, by_gcp = found["torch.linalg.svd"], found["gcp.linalg.procrustes"]
    assert by_torch["float64"][-2:].isnan().any()
    assert by_torch["float64"].nan_to_num(1).max() > 0.1
    assert by_gcp["float64"].max() < 1e-9  # what differences of fourth order leave
    assert by_gcp["float32"].max() < 1e-6
    assert len(by_torch["training"]) == 1  # NaN in the first step
    assert by_gcp["training"][-1] < 1e-3 * by_gcp["training"][0]


def homography_by_dlt(found):
    by_torch, by_gcp = found["torch.linalg.eigh"], found["gcp.linalg.smallest_eigenvector"]
    assert len(by_torch.errors) == 1
    assert by_gcp.errors[-1] < 0.2 * by_gcp.errors[0]
    assert by_gcp.errors[-1] < (by_gcp.seen - by_gcp.true).pow(2).sum(-1).mean().sqrt()  # better than what it sees


def pca_loss_with_crossing_eigenvalues(found):
    by_torch = found.pop("torch.linalg.eigh")
    assert not by_torch.errors.isfinite().all()
    assert by_torch.errors.nan_to_num(0).max() > 1e-2
    assert by_torch.left[-1] < 50
    for each in found.values():
        assert each.errors.max() < 1e-4  # rounding, times 101 at most: the degree of the Taylor polynomial, and 1
        assert each.left[-1] == 100
        assert each.losses[-1] < 1e-10


EXAMPLES = (
    low_rank_layer,
    procrustes_of_symmetric_shapes,
    homography_by_dlt,
    pca_loss_with_crossing_eigenvalues,
)
CLAIMS = {claim.__name__: claim for claim in EXAMPLES}


def test_each_has_a_claim_and_a_paragraph_with_its_picture():
    assert {file.stem for file in FOLDER.glob("*.py")} == set(CLAIMS)
    page = (FOLDER / "README.md").read_text()
    for name in CLAIMS:
        assert f"({name}.py)" in page
        assert f"({name}.png)" in page
        assert (FOLDER / f"{name}.png").stat().st_size < 100_000


@pytest.mark.parametrize("name", slow_unless(["homography_by_dlt"], CLAIMS))
def test_it_shows_what_it_says(name, tmp_path):
    example = runpy.run_path(str(FOLDER / f"{name}.py"))
    found = example["run"]()
    example["picture"](found).savefig(tmp_path / "picture.png")
    CLAIMS[name](found)
