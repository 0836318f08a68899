"""Tables of the pages have a row for every name of a registry, with its options."""

from __future__ import annotations

import dataclasses

import pytest

import gcp
from datamodules.datasets import DATASETS, list_datasets
from datamodules.options import DataOptions, FileOptions
from datamodules.transforms.names import PROTOCOLS, TRANSFORMS
from gcp.backbones.registry import BACKBONES
from gcp.methods import METHODS, SpectralOptions, list_methods
from gcp.options import option_names
from tests.conftest import ROOT

METHODS_PAGE = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
BACKBONES_PAGE = (ROOT / "docs/backbones.md").read_text(encoding="utf-8")
DATA_PAGE = (ROOT / "docs/data.md").read_text(encoding="utf-8")


def rows(page, name):
    return [line for line in page.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]]


@pytest.mark.parametrize("name", gcp.list_backbones())
def test_the_backbone_table_has_every_backbone(name):
    (row,) = rows(BACKBONES_PAGE, name.removesuffix("_bn"))
    assert "_bn" in row or not name.endswith("_bn")
    for option in option_names(BACKBONES.get(name).options):
        assert option in ("frozen", "whitening") or f"`{option}" in row
    assert "beside `frozen`, `whitening` and `hidden`" in BACKBONES_PAGE


@pytest.mark.parametrize("method", list_methods())
def test_the_method_table_has_every_method_and_option(method):
    found = [line for line in METHODS_PAGE.splitlines() if line.startswith(f"| `{method}` |")]
    if not found and "arXiv" not in METHODS.get(method).source:
        pytest.skip(f"'{method}' is not of the literature, which is what the table holds")
    (row,) = found
    shared = set(option_names(SpectralOptions))
    for name in set(option_names(METHODS.get(method).options)) - shared:
        assert name in row
    assert all(f"`{name}`" in METHODS_PAGE for name in shared)


@pytest.mark.parametrize("name", list_datasets())
def test_the_dataset_table_has_every_dataset(name):
    (row,) = rows(DATA_PAGE, name)
    options = DATASETS.get(name).options
    own = set(option_names(options)) - set(option_names(FileOptions)) - set(option_names(DataOptions))
    assert all(f"`{option}`" in row for option in own) or "..." in row
    transform = next((each.default for each in dataclasses.fields(options) if each.name == "transform"), None)
    assert transform is None or f"`{transform}`" in row


def test_the_transform_table_has_every_transform_and_protocol():
    assert all(len(rows(DATA_PAGE, name)) == 1 for name in TRANSFORMS.names())
    assert all(f"`{protocol}`" in DATA_PAGE for protocol in PROTOCOLS)
