"""The configuration: complete, typed, derived from the option classes."""

from __future__ import annotations

import dataclasses
import re
from itertools import zip_longest

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ValidationError

from conf.check_options import check
from conf.known import known_options
from conf.overrides import names_set_by
from conf.schema import HERE, register, schema_of
from conf.values import takes
from conf.writing import owned, written
from datamodules.datasets import DATASETS, register_dataset
from gcp.errors import OptionError
from gcp.options import Options, option, option_names
from lightning_modules.settings.entry import Entry
from lightning_modules.settings.optimisation import SCHEDULES
from lightning_modules.settings.sections import GROUPS


def composed(*overrides: str):
    register()
    with initialize_config_dir(config_dir=str(HERE), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def test_the_files_list_the_options_of_the_classes_and_none_is_left_over():
    files = {path: path.read_text(encoding="utf-8") for path in owned()}
    assert files == written(), "run: python -m conf.writing"


@dataclasses.dataclass(frozen=True)
class NothingToSet(Options):
    """The options of a name that has none."""


def test_a_name_with_options_has_a_file_and_one_without_is_chosen_all_the_same(monkeypatch):
    monkeypatch.setattr(SCHEDULES, "_entries", dict(SCHEDULES._entries))
    SCHEDULES.register("bare", Entry("bare", NothingToSet, "no_module:build", "nothing to set"))
    assert HERE / "method" / "taylor.yaml" in written()
    assert HERE / "schedule" / "bare.yaml" not in written()
    assert composed("schedule=bare").schedule.name == "bare"


def test_a_file_says_what_its_options_may_be():
    text = (HERE / "method" / "taylor.yaml").read_text()
    assert "# degree of the Taylor polynomial of 1/(1 - x); at least 1\ndegree: 100\n" in text


# Each name of each group once, those of different groups together.
NAMES = list(zip_longest(*(GROUPS[group][1].names() for group in GROUPS)))


@pytest.mark.parametrize("names", NAMES, ids=lambda names: "-".join(filter(None, names)))
def test_every_name_composes_to_the_defaults_of_its_options(names):
    chosen = {group: name for group, name in zip(GROUPS, names, strict=True) if name is not None}
    config = check(composed(*(f"{group}={name}" for group, name in chosen.items())))
    for group, name in chosen.items():
        section, registry = GROUPS[group]
        values = config[section]
        assert values.pop("name") == name
        entry = registry.get(name)
        if group == "method":
            assert values.pop("reduced_channels") == entry.reduced_channels
        if group == "backbone":
            assert values.pop("hidden") is None  # the backbone's own default
            assert values.pop("class_token") is None
        if group == "logger":
            assert values.pop("beside") == {}
        assert values == {field: getattr(entry.options(), field) for field in option_names(entry.options)}


def test_a_wrong_type_and_an_unknown_key_are_refused():
    config = composed("method=taylor")
    with pytest.raises(ValidationError):
        config.method.degree = "many"
    with pytest.raises(ConfigAttributeError):
        config.method.dgree = 3
    with pytest.raises(ConfigAttributeError):
        config.colour = "red"


def test_the_seed_of_the_run_is_the_seed_of_the_data():
    assert check(composed("seed=7"))["data"]["seed"] == 7


def test_a_dataset_without_a_file_takes_the_seed_of_the_run_too(monkeypatch):
    monkeypatch.setattr(DATASETS, "_entries", dict(DATASETS._entries))
    register_dataset(dataclasses.replace(DATASETS.get("digits"), name="mine"))
    assert check(composed("dataset=mine", "seed=7"))["data"]["seed"] == 7


@pytest.mark.parametrize(
    "overlay", ["debug=fast", "debug=overfit", "recipe=hybrid_digits", "recipe=decorrelated_digits"]
)
def test_overlays_compose(overlay):
    check(composed(overlay))


def test_a_recipe_sets_defaults_and_the_command_line_has_the_last_word():
    recipe = check(composed("recipe=hybrid_digits"))
    assert (recipe["switch"]["to"], recipe["schedule"]["milestones"]) == ("pade", [6, 9])
    changed = check(composed("recipe=hybrid_digits", "method=taylor", "schedule.milestones=[2]"))
    assert (changed["method"]["name"], changed["schedule"]["milestones"]) == ("taylor", [2])


def test_an_overlay_that_does_not_exist_is_refused():
    with pytest.raises(MissingConfigException):
        composed("debug=fats")


def test_the_names_an_overlay_sets():
    with initialize_config_dir(config_dir=str(HERE), version_base="1.3"):
        names = names_set_by("recipe", "hybrid_digits")
        assert set(names) >= {"method.name", "data.name", "switch.to", "trainer.max_epochs", "schedule.milestones"}
        assert not any(name.startswith("hydra") for name in names_set_by("sweep", "methods"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=taylor", "method.degree=0"], "method.degree must be at least 1"),
        (["method.reduced_channels=0"], "method.reduced_channels must be at least 1"),
        (["method=topn", "method.n=3", "method.fraction=0.5"], "method.topn takes n or fraction"),
        (["trainer.max_epochs=0"], "trainer.max_epochs must be at least 1"),
        (["schedule.milestones=[3,-1]"], "schedule.milestones must be at least 0"),
        (["mode=test"], "mode=test needs ckpt_path"),
        (["mode=predict", "ckpt_path=x"], "mode=predict needs data.path"),
        (["export.format=tflite"], "export.format must be one of"),
        (["switch.condition=1"], "switch.condition must be greater than 1"),
        (["logger=wandb", "logger.mode=sometimes"], "logger.mode must be one of"),
    ],
)
def test_ranges_are_checked_with_the_full_name(overrides, message):
    with pytest.raises(OptionError, match=message.replace(".", r"\.")):
        check(composed(*overrides))


def test_a_schema_keeps_defaults_and_accepts_overrides():
    @dataclasses.dataclass(frozen=True)
    class Sample(Options):
        size: int = option(3, "how many", minimum=1)
        names: list[str] = option(["a"], "which")

    node = OmegaConf.structured(schema_of(Sample, name="sample"))
    assert node == {"name": "sample", "size": 3, "names": ["a"]}
    node.size = 5
    node.names.append("b")
    assert OmegaConf.structured(schema_of(Sample, name="sample")).names == ["a"]


def test_what_an_option_takes_is_said_in_words():
    """Not by the names of Python's types."""
    said = {option.key: takes(option) for option in known_options() if not option.choices}
    assert not {key: words for key, words in said.items() if re.search(r"\b(Any|int|str|bool|float|Mapping)\b", words)}


def test_help_calls_a_missing_value_what_the_command_line_calls_it():
    wrong = [
        option.key for option in known_options() if re.search(r"\b[Nn]one:|\bNone\b", option.field.metadata["help"])
    ]
    assert not wrong
