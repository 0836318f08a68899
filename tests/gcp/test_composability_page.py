"""docs/composability.md says what the transforms do to the functions, cell by cell."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
import torch

import gcp
from gcp.errors import DerivativeError, DtypeError
from tests.gcp.composability import EXACT, OWN, PAGE, ROWS, TRANSFORMS, page
from tests.slow import slow_unless

FAST = [
    ("spectral_function(P)", "second derivative"),
    ('covariance_function(x, "log", eps=0.1)', "hessian"),
    ('spectral_function(P, method="taylor")', "jacfwd"),
    ("linalg.polar(A)", "complex"),
]


@pytest.fixture(autouse=True)
def _fresh_dynamo() -> Iterator[None]:
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize(("name", "transform"), slow_unless(FAST, itertools.product(ROWS, TRANSFORMS)))
def test_cell(name: str, transform: str) -> None:
    row, check = ROWS[name], TRANSFORMS[transform]
    cell = row.cells.get(transform, EXACT)
    if cell in (EXACT, OWN):
        check(row)
        return
    with pytest.raises((DerivativeError, DtypeError)) as caught:
        check(row)
    assert str(caught.value) == cell


def test_the_page_says_what_the_tests_find() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.gcp.composability"


def test_every_function_has_a_row() -> None:
    shown = {re.split(r"[( ]", name)[0] for name in ROWS}
    public = {f"linalg.{name}" for name in gcp.linalg.__all__}
    assert public | {"spectral_function", "covariance_function", "matrix_root", "Whitening"} == shown


def test_cells_are_of_transforms() -> None:
    assert all(set(row.cells) <= set(TRANSFORMS) for row in ROWS.values())
