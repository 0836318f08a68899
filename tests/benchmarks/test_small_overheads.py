"""Calls of torch's operators: no layer makes more than its page says, which is how overheads stay small."""

from __future__ import annotations

import pytest

from benchmarks.dispatched import Dispatched
from benchmarks.small_overheads import SHAPE, calls, main, passes
from gcp.methods import list_methods
from gcp.pooling.factory import create_pooling
from tests.conftest import ROOT


def documented() -> dict[str, int]:
    """Calls of a forward and a backward."""
    lines = (ROOT / "benchmarks/small_overheads.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]
    return {name: int(forward) + int(backward) for name, forward, _, backward, *_ in rows}


@pytest.mark.parametrize("name", list_methods())
def test_layers_call_no_more_than_documented(name: str) -> None:
    _, both = passes(create_pooling(name, SHAPE[1]))
    assert calls(both)[0] <= documented()[name]


def test_the_page_on_speed_has_the_same_figures() -> None:
    found, page = documented(), (ROOT / "docs/speed.md").read_text()
    assert f"of `pade` call {found['pade']} of torch's operators, of `lyapunov` {found['lyapunov']}" in page.replace(
        "\n", " "
    )


def test_operators_inside_our_own_are_seen() -> None:
    with Dispatched() as dispatched:
        create_pooling("pade", 4)(passes(create_pooling("average", SHAPE[1]))[0]().view(1, 4, 4, 4))
    assert dispatched.counted["linalg_eigh"] == 1


@pytest.mark.slow
def test_the_page_is_written(tmp_path) -> None:
    main(["--repeats", "1", "--out", str(tmp_path / "page.md")])
    assert set(list_methods()) <= {
        line.split("|")[1].strip() for line in (tmp_path / "page.md").read_text().splitlines() if "|" in line
    }
