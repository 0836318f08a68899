"""Recipes: the hyper-parameters of the published table, the published results, and real networks and optimizers."""

from __future__ import annotations

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from conf.check_options import check
from conf.schema import HERE
from lightning_modules.classifier import Classifier
from lightning_modules.optimisation.groups import parameter_groups
from lightning_modules.report.runs import RunRecord
from lightning_modules.settings.optimisation import SGDOptions
from tests.conf.test_schema import composed

# The published table: network, method, data, batch, epochs, learning rate, x0.1 at, weight decay, classifier factor.
TABLE = {
    "imagenet_alexnet_pade": ("alexnet", "pade", "imagenet", 128, 30, 0.0794, [10, 20], 5e-4, 1),
    "imagenet_resnet50_pade": ("resnet50", "pade", "imagenet", 256, 60, 0.0794, [30, 45], 1e-4, 1),
    "imagenet_resnet50_hybrid": ("resnet50", "isqrt", "imagenet", 256, 60, 0.0794, [30, 45], 1e-4, 1),
    "imagenet_resnet50_isqrt": ("resnet50", "isqrt", "imagenet", 160, 65, 0.1, [30, 45, 60], 1e-4, 1),
    "cub_resnet50_seb": ("resnet50", "seb", "cub", 10, 200, 3e-3, [50, 100], 1e-4, 20),
    "cars_resnet50_seb": ("resnet50", "seb", "cars", 10, 200, 3e-3, [50, 100], 1e-4, 10),
    "aircraft_resnet50_seb": ("resnet50", "seb", "aircraft", 8, 50, 3e-3, [21, 40], 1e-3, 5),
    "cub_resnet50_pade": ("resnet50", "pade", "cub", 10, 200, 3e-3, [50, 100], 1e-4, 20),
    "cars_resnet50_pade": ("resnet50", "pade", "cars", 10, 200, 3e-3, [50, 100], 1e-4, 10),
    "aircraft_resnet50_pade": ("resnet50", "pade", "aircraft", 8, 50, 3e-3, [21, 40], 1e-3, 5),
    "dogs_resnet50_pade": ("resnet50", "pade", "dogs", 10, 200, 3e-3, [50, 100], 1e-4, 20),
    "cub_resnet50_isqrt": ("resnet50", "isqrt", "cub", 10, 100, 1.2e-3, [], 1e-3, 5),
    "cub_vgg16_isqrt": ("vgg16_bn", "isqrt", "cub", 10, 40, 3e-3, [20], 1e-4, 20),
    "cub_vgg16_bilinear": ("vgg16", "bilinear", "cub", 40, 100, 1e-3, [], 5e-4, 1000),
}
TRANSFORMS = {"imagenet": "imagenet224", "cub": "cub448", "cars": "cars448", "aircraft": "fgvc448", "dogs": "fgvc448"}
CLASSES = {"imagenet": 1000, "cub": 200, "cars": 196, "aircraft": 100, "dogs": 120}

# Fine-tuning from packages: these differ in the method alone.
SOLAR = ("average", "isqrt", "pade", "taylor", "newton", "lyapunov", "halley", "bilinear", "hybrid")


def test_every_recipe_is_in_the_table():
    known = {*TABLE, *(f"solar_lite0_{name}" for name in SOLAR), "hybrid_digits", "decorrelated_digits", "own_images"}
    assert {file.stem for file in (HERE / "recipe").glob("*.yaml")} == known


@pytest.mark.parametrize("name", TABLE)
def test_hyper_parameters(name):
    config = check(composed(f"recipe={name}"))
    backbone, method, dataset, batch, epochs, lr, milestones, decay, factor = TABLE[name]
    assert (config["backbone"]["name"], config["method"]["name"], config["data"]["name"]) == (backbone, method, dataset)
    assert (config["data"]["batch_size"], config["trainer"]["max_epochs"]) == (batch, epochs)
    optimizer = config["optimizer"]
    assert (optimizer["name"], optimizer["momentum"], optimizer["nesterov"]) == ("sgd", 0.9, False)
    assert (optimizer["lr"], optimizer["weight_decay"], optimizer["classifier_factor"]) == (lr, decay, factor)
    assert (config["schedule"]["milestones"], config["schedule"]["gamma"]) == (milestones, 0.1)
    assert config["trainer"]["gradient_clip_val"] == 5
    assert config["data"]["transform"] == TRANSFORMS[dataset]
    assert config["data"]["protocol"] == ("ten_crop" if dataset == "imagenet" else "flip")
    assert config["data"]["holdout"] == 0
    assert (config["backbone"].get("weights") is None) == (dataset == "imagenet")
    if method in ("pade", "isqrt", "seb"):
        assert config["method"]["reduced_channels"] == 256


def test_what_single_recipes_have_of_their_own():
    assert check(composed("recipe=imagenet_resnet50_isqrt"))["backbone"]["last_stride"] == 1
    for name in ("cub_vgg16_isqrt", "cub_vgg16_bilinear"):  # with pretrained VGG the classifier has no weight decay
        assert check(composed(f"recipe={name}"))["optimizer"]["classifier_weight_decay"] == 0
    hybrid = check(composed("recipe=imagenet_resnet50_hybrid"))["switch"]
    assert (hybrid["to"], hybrid["at"]) == ("pade", "last_decay")
    two = check(composed("recipe=cub_vgg16_bilinear"))
    assert two["backbone"]["frozen"] == 30
    assert two["second_stage"] == {"epochs": 100, "batch_size": 10, "lr": None, "classifier_factor": 1.0, "frozen": 0}


@pytest.mark.parametrize("name", ["hybrid", *(pytest.param(name, marks=pytest.mark.slow) for name in SOLAR[:-1])])
def test_fine_tuning_differs_in_the_method_alone(name):
    config, usual = (check(composed(f"recipe=solar_lite0_{each}")) for each in (name, "pade"))
    method = "isqrt" if name == "hybrid" else name
    assert config["method"]["name"] == method
    assert config["method"]["reduced_channels"] == (None if name == "average" else 256)
    switch = {"to": "pade", "at": "epoch", "epoch": 10} if name == "hybrid" else {"to": None}
    assert switch.items() <= config["switch"].items()
    assert {**config, "method": None, "switch": None} == {**usual, "method": None, "switch": None}


def test_the_sweep_of_fine_tuning_has_every_method():
    text = (HERE / "sweep/finetuning.yaml").read_text()
    (recipes,) = yaml.safe_load(text)["hydra"]["sweeper"]["params"].values()
    assert sorted(recipes.split(",")) == sorted(f"solar_lite0_{name}" for name in SOLAR)


PUBLISHED = [  # errors of the poster, as accuracies
    ("imagenet_resnet50_pade", "pade", "test/acc1", 22.67),
    ("imagenet_resnet50_pade", "original", "test/acc5", 6.75),
    ("imagenet_resnet50_hybrid", "isqrt+newton", "test/acc1", 22.72),
    ("imagenet_resnet50_hybrid", "isqrt+taylor", "test/acc5", 6.53),
    ("imagenet_resnet50_isqrt", "isqrt", "test/acc1", 21.71),
    ("cub_resnet50_pade", "pade", "test/acc1", 100 - 87.29),
    ("cub_resnet50_pade", "trunc", "test_final/acc1", 100 - 87.16),
    ("dogs_resnet50_pade", "pade", "test_final/acc1", 100 - 83.40),
    ("cars_resnet50_pade", "newton", "test/acc1", 100 - 92.51),
]


@pytest.mark.parametrize(("name", "method", "metric", "error"), PUBLISHED)
def test_published_results(name, method, metric, error):
    config = OmegaConf.to_container(composed(f"recipe={name}"))
    first, _, second = method.partition("+")
    dataset = config["data"]["name"]
    run = RunRecord(HERE, {"method": first, "dataset": dataset}, {}, {**config, "switch": {"to": second or None}})
    elsewhere = RunRecord(HERE, {"method": first, "dataset": "pets"}, {}, run.config)
    assert elsewhere.published == {}
    assert run.published[metric] == pytest.approx(1 - error / 100, abs=1e-9)
    assert "2105.02498" in run.published["source"] or "1712.01034" in run.published["source"]


@pytest.mark.parametrize("name", TABLE)
def test_the_real_network_and_its_groups(name):
    config = check(composed(f"recipe={name}"))
    _, _, dataset, _, _, lr, _, decay, factor = TABLE[name]
    backbone = dict(config["backbone"])
    if backbone.pop("weights", None) is not None:
        backbone["hidden"] = []  # what pretrained weights bring with them
    sections = {section: config[section] for section in ("method", "optimizer", "schedule", "training")}
    with torch.device("meta"):  # shapes without numbers
        module = Classifier(backbone=backbone, num_classes=CLASSES[dataset], **sections)
    values = {key: value for key, value in config["optimizer"].items() if key != "name"}
    groups = {group["name"]: group for group in parameter_groups(module.model, SGDOptions(**values))}
    assert groups["classifier"]["lr"] == pytest.approx(lr * factor)
    own = config["optimizer"]["classifier_weight_decay"]
    assert groups["classifier"]["weight_decay"] == (decay if own is None else own)
    if "features" in groups:
        assert (groups["features"]["lr"], groups["features"]["weight_decay"]) == (lr, decay)
    else:
        assert name == "cub_vgg16_bilinear"  # all 30 layers before the last pooling are frozen
    linear = [layer for layer in module.model.classifier.modules() if hasattr(layer, "out_features")]
    assert linear[-1].out_features == CLASSES[dataset]
