"""The list of datasets and the sentences a wrong name or option gets."""

import subprocess
import sys
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from datamodules.datasets import DATASETS, create_datamodule, list_datasets, register_dataset
from gcp.errors import OptionError, OptionTypeError, UnknownNameError
from gcp.options import Options


def test_listing_imports_neither_torch_nor_lightning():
    code = (
        "import sys, datamodules, datamodules.datasets as d; print(d.list_datasets());"
        "assert not {'torch', 'pytorch_lightning', 'sklearn', 'numpy'} & set(sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "digits" in output
    assert "textures" in output


@pytest.mark.parametrize("name", ["digits", "textures"])  # of the others only the files tell
def test_info_agrees_with_the_data_module(name):
    info = DATASETS.get(name)
    module = create_datamodule(name)
    assert info.name == name
    assert info.summary
    assert info.num_classes == module.num_classes == len(set(module.class_names))


@pytest.mark.parametrize("name", list_datasets())
def test_options_make_a_structured_config(name):
    options = DATASETS.get(name).options
    assert OmegaConf.to_container(OmegaConf.structured(options)) == vars(options())


def test_unknown_name_is_told_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown dataset 'digit' \(did you mean 'digits'\?\)"):
        create_datamodule("digit")


def test_misspelt_option_is_told_the_nearest():
    with pytest.raises(
        OptionError, match=r"dataset 'digits' has no option 'batchsize' \(did you mean 'batch_size'\?\)"
    ):
        create_datamodule("digits", batchsize=3)


def test_option_of_another_dataset_is_refused():
    with pytest.raises(OptionError, match="dataset 'digits' has no option 'train_per_class'"):
        create_datamodule("digits", train_per_class=3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digits", {"batch_size": -1}, "batch_size must be at least 1, got -1"),
        ("digits", {"batch_size": "many"}, "batch_size must be an integer, got 'many'"),
        ("digits", {"eval_batch_size": 0}, "eval_batch_size must be at least 1, got 0"),
        ("digits", {"num_workers": -1}, "num_workers must be at least 0, got -1"),
        ("digits", {"seed": -1}, "seed must be at least 0, got -1"),
        ("digits", {"pin_memory": 1}, "pin_memory must be true or false, got 1"),
        ("digits", {"image_size": 7}, "image_size must be at least 8, got 7"),
        ("textures", {"image_size": 15}, "image_size must be at least 16, got 15"),
        ("textures", {"classes": 1}, "classes must be at least 2, got 1"),
        ("textures", {"classes": 33}, "classes must be at most 32, got 33"),
        ("textures", {"val_per_class": 0}, "val_per_class must be at least 1, got 0"),
    ],
)
def test_option_out_of_range(name, options, message):
    with pytest.raises(OptionError, match=message):
        create_datamodule(name, **options)


def test_own_dataset(own_dataset):
    module = create_datamodule("numbered", images=9)
    assert type(module) is own_dataset.datamodule
    assert module.num_classes == 9
    assert list_datasets()[-1] == "numbered"


def test_name_is_taken_once(own_dataset):
    register_dataset(own_dataset)
    with pytest.raises(OptionError, match="the dataset 'numbered' is registered already"):
        register_dataset(replace(own_dataset, summary="another"))


def test_options_are_those_of_datasets(own_dataset):
    with pytest.raises(OptionTypeError, match=r"must be a subclass of datamodules\..*DataOptions, got .*Options"):
        register_dataset(replace(own_dataset, name="other", options=Options))
