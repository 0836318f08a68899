"""What a mode makes no use of is said, in every mode."""

from __future__ import annotations

import pytest

from lightning_modules.run.without_effect import OWN, UNUSED, without_effect
from lightning_modules.settings.sections import GROUPS, MODES, SECTIONS


def test_every_mode_and_only_sections_that_there_are():
    assert set(UNUSED) == set(MODES)
    known = {section for section, _ in GROUPS.values()} | set(SECTIONS)
    assert {section for sections in UNUSED.values() for section in sections} <= known
    assert all(section not in UNUSED[mode] for section, mode in OWN.items())


@pytest.mark.parametrize("mode", MODES)
def test_what_is_set_without_effect_is_named(mode):
    for section in UNUSED[mode]:
        assert f"mode={mode} makes no use of {section}.x" in (without_effect(mode, [f"{section}.x=1"]) or "")
    assert without_effect(mode, ["seed=1", "hydra.run.dir=out", "recipe=own_images", "data=x"][:3]) is None


def test_a_group_is_named_as_it_was_typed():
    assert without_effect("analyze", ["method=pade", "optimizer.lr=1"]) == "mode=analyze makes no use of method"
    assert without_effect("report", ["dataset=cub", "path=runs"]) == "mode=report makes no use of dataset"
