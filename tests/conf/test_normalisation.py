"""The normalisation that packaged weights expect comes into the configuration, and stays with the network."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from conf.check_options import check
from gcp.backbones.packages import PACKAGED
from gcp.errors import OptionError
from lightning_modules.run.merge_config import with_network
from tests.conf.test_schema import composed
from tests.datamodules import fabricate
from tests.small import SMALL

LITE0 = ("backbone=timm", "backbone.model=tf_efficientnet_lite0", "backbone.weights=package")


def test_it_comes_with_the_weights():
    known = PACKAGED["tf_efficientnet_lite0"]
    data = check(composed("dataset=elpv", *LITE0))["data"]
    assert (data["mean"], data["std"]) == (list(known.mean), list(known.std))
    assert check(composed("dataset=elpv"))["data"]["mean"] is None
    own = check(composed("dataset=elpv", *LITE0, "data.mean=[0.1,0.2,0.3]", "data.std=[1,1,1]"))["data"]
    assert own["mean"] == [0.1, 0.2, 0.3]


def test_a_new_classifier_sees_what_the_old_one_saw():
    stored = check(composed("dataset=elpv", *LITE0))
    new = with_network(check(composed("dataset=dtd", "backbone=timm")), stored, [])
    assert new["backbone"]["weights"] is None
    assert new["data"]["mean"] == stored["data"]["mean"]


@pytest.mark.slow
def test_the_backbone_of_a_run_sees_what_it_has_seen(cli, tmp_path):
    fabricate.elpv(tmp_path / "cells")
    small = (*(each for each in SMALL if "batch_size" not in each), "data.batch_size=8")
    cells = ("dataset=elpv", "data.root=cells", "data.check=off", *small)
    half = ("data.mean=[0.5,0.5,0.5]", "data.std=[0.25,0.25,0.25]")
    assert cli(*cells, *half, "hydra.run.dir=run").code == 0
    for number, weights in enumerate(("run", "run/checkpoints/last.ckpt")):
        assert cli(*cells, f"backbone.weights={weights}", f"hydra.run.dir=next{number}").code == 0
        data = OmegaConf.load(tmp_path / f"next{number}/config.yaml").data
        assert (data["mean"], data["std"]) == ([0.5] * 3, [0.25] * 3)


def test_a_dataset_with_a_normalisation_of_its_own():
    with pytest.raises(OptionError, match="dataset 'digits' has one of its own; use a dataset of files"):
        check(composed("dataset=digits", *LITE0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data.mean=[0.5,0.5,0.5]"], r"mean is given without std; set both"),
        (["data.mean=[0.5]", "data.std=[0.5]"], r"mean must be 3 numbers, one of each channel, got \[0\.5\]"),
        (["data.mean=[0,0,0]", "data.std=[1,1,0]"], "std must be greater than 0, got 0"),
    ],
)
def test_numbers_that_are_no_normalisation(options, message):
    with pytest.raises(OptionError, match=message):
        check(composed("dataset=elpv", *options))
