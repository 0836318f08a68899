"""Features of frozen stages computed once: the same weights and metrics as computing them again, or a refusal."""

from __future__ import annotations

import pytest
import torch

from lightning_modules import metric_names as names
from tests.datamodules import fabricate
from tests.small import SMALL

FROZEN = ("backbone.frozen=3", "training.features_once=true")
ONCE = "training.features_once=true"


def weights(run):
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return {key: value.double() for key, value in state.items()}


def same(run, other):
    """Up to the rounding of batches of another size, over a few steps."""
    first, second = weights(run), weights(other)
    assert first.keys() == second.keys()
    return all(torch.allclose(first[key], second[key], rtol=1e-4, atol=1e-5) for key in first)


def test_it_changes_nothing_but_the_time(cli, tmp_path, summary_of):
    two = [each for each in SMALL if "max_epochs" not in each] + ["trainer.max_epochs=2", "backbone.frozen=3"]
    for name, more in (("once", [ONCE]), ("again", []), ("half", [ONCE, "trainer.max_epochs=1"])):
        outcome = cli(*two, *more, f"hydra.run.dir={name}")
        assert outcome.code == 0, outcome.err
    once, again = summary_of(tmp_path / "once"), summary_of(tmp_path / "again")
    assert same(tmp_path / "once", tmp_path / "again")
    for name in (names.TEST_ACCURACY, names.VAL_ACCURACY, names.TEST_LOSS):
        assert once[name] == pytest.approx(again[name], rel=1e-3), name
    assert once[names.FEATURES_SECONDS] > 0
    assert names.FEATURES_SECONDS not in again
    outcome = cli("ckpt_path=half", "trainer.max_epochs=2", "hydra.run.dir=half", "callbacks.progress_bar=false")
    assert outcome.code == 0, outcome.err  # resumed: to the bits of the run that was not interrupted
    assert all(map(torch.equal, weights(tmp_path / "half").values(), weights(tmp_path / "once").values()))
    tested = cli("mode=test", "ckpt_path=once", "hydra.run.dir=tested", "callbacks.progress_bar=false")
    assert tested.code == 0, tested.err  # from the images
    assert summary_of(tmp_path / "tested")[names.TEST_LOSS] == pytest.approx(once[names.TEST_LOSS], rel=1e-4)


CELLS = (
    "dataset=elpv", "data.root=cells", "data.check=off", "data.image_size=64", "data.batch_size=8", "backbone=timm",
    "method.reduced_channels=8", "trainer.max_epochs=1", "trainer.accelerator=cpu", "callbacks.progress_bar=false",
)  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*SMALL, ONCE), "needs frozen stages to compute the features of; set backbone.frozen"),
        ((*SMALL, "training.features_folder=kept"), "features_folder keeps the features of features_once; set that"),
        pytest.param(
            (*SMALL, *FROZEN, "training.mixup=0.2"), "and training.mixup mixes them; choose one", marks=pytest.mark.slow
        ),
        pytest.param(
            (*SMALL, *FROZEN, "trainer.precision=bf16-mixed"), "use trainer.precision=32-true", marks=pytest.mark.slow
        ),
        pytest.param(
            (*CELLS, "backbone.model=test_efficientnet", "backbone.frozen=blocks.1", ONCE),
            "those of 'elpv' are not, or its data module does not say; use data.transform=plain224",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (*CELLS, "backbone.model=test_vit", "backbone.frozen=patch_embed", ONCE, "data.transform=plain224"),
            "the stages of this backbone are no chain",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_would_not_be_exact_is_refused(cli, tmp_path, arguments, message):
    fabricate.elpv(tmp_path / "cells")
    outcome = cli(*arguments, "hydra.run.dir=run")
    assert outcome.code == 1
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_kept_features_change_no_bit(cli, tmp_path, summary_of):
    for name in ("first", "second"):
        outcome = cli(*SMALL, *FROZEN, "training.features_folder=kept", f"hydra.run.dir={name}")
        assert outcome.code == 0, outcome.err
    assert len(list((tmp_path / "kept").glob("*.npz"))) == 1
    assert all(map(torch.equal, weights(tmp_path / "first").values(), weights(tmp_path / "second").values()))
    assert summary_of(tmp_path / "first")[names.TEST_LOSS] == summary_of(tmp_path / "second")[names.TEST_LOSS]


@pytest.mark.slow
def test_pretrained_by_package_with_several_views(cli, tmp_path, summary_of):
    fabricate.elpv(tmp_path / "cells")
    lite0 = ("backbone.model=tf_efficientnet_lite0", "backbone.weights=package", "backbone.frozen=blocks.5")
    for name, more in (("once", [ONCE]), ("again", [])):
        outcome = cli(*CELLS, *lite0, "data.transform=plain224", "data.protocol=flip", *more, f"hydra.run.dir={name}")
        assert outcome.code == 0, outcome.err
    assert same(tmp_path / "once", tmp_path / "again")
    loss = [summary_of(tmp_path / name)[names.TEST_LOSS] for name in ("once", "again")]
    assert loss[0] == pytest.approx(loss[1], rel=1e-3)
    checkpoint = torch.load(tmp_path / "once/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["preprocessing"]["mean"] == pytest.approx([127 / 255] * 3)
    assert checkpoint["config"]["data"]["std"] == pytest.approx([128 / 255] * 3)
    predicted = cli("mode=predict", "ckpt_path=once", "data.path=cells/images", "callbacks.progress_bar=false")
    assert predicted.code == 0, predicted.err  # without the package: the checkpoint says what images look like
