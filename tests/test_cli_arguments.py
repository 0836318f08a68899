"""What people type: understood where it can mean one thing only, else refused in one sentence that names the remedy."""

from __future__ import annotations

import dataclasses

import pytest
from omegaconf import OmegaConf

from conf.arguments import readable
from conf.schema import OVERLAYS
from gcp.errors import OptionError
from lightning_modules.settings.sections import GROUPS, SECTIONS
from tests.small import SMALL

# Argument as it is typed, and as Hydra reads it.
UNDERSTOOD = {
    "method=PADE": "method=pade",
    "backbone=ResNet50": "backbone=resnet50",
    "dataset=CUB": "dataset=cub",
    "trainer.accelerator=CPU": "trainer.accelerator=cpu",
    "trainer.strategy=DDP": "trainer.strategy=ddp",
    "trainer.devices=Auto": "trainer.devices=auto",
    "optimizer=SGD": "optimizer=sgd",
    "mode=Test": "mode=test",
    "switch.to=NEWTON": "switch.to=newton",
    "method.precision=Float64": "method.precision=float64",
    "recipe=Hybrid_Digits": "recipe=hybrid_digits",
    "plugins=my_module": "plugins=[my_module]",
    "plugins=a,b.c": "plugins=[a,b.c]",
    "plugins=[a]": "plugins=[a]",
    "backbone.hidden=4096": "backbone.hidden=[4096]",
    "schedule.milestones=3,5": "schedule.milestones=[3,5]",
    "analysis.parts=time": "analysis.parts=[time]",
    "path=A,B": "path='A,B'",
    "data.root=~/images": "data.root='~/images'",
    "data.root=/a (1)/b": "data.root='/a (1)/b'",
    "ckpt_path=epoch=3.ckpt": "ckpt_path='epoch=3.ckpt'",
    "data.root=/données": "data.root='/données'",
    "hydra.run.dir=/é": "hydra.run.dir='/é'",
    "data.root=plain/path": "data.root=plain/path",
    "threads=None": "threads=null",
    "optimizer.lr=1e-3": "optimizer.lr=1e-3",
    "+switch.options.degree=3": "+switch.options.degree=3",
}

# Arguments, and what the sentence has to hold.
REFUSED = {
    "lr=0.1": "unknown option lr; write optimizer.lr=...",
    "learning_rate=0.1": "write optimizer.lr=...",
    "epochs=3": "write trainer.max_epochs=...",
    "max_epochs=3": "write trainer.max_epochs=...",
    "batch_size=4": "write data.batch_size=...",
    "degree=3": "write method.degree=...",
    "checkpoint=a": "write ckpt_path=...",
    "model=resnet50": "write backbone=...",
    "+lr=0.1": "write optimizer.lr=...",
    "++foo=1": "unknown option foo",
    "+foo.bar=1": "unknown option foo",
    "++method.foo=1": "unknown option method.foo; method takes: ",
    "metod=pade": "did you mean 'method'?",
    "data=folder": "the dataset is chosen by dataset=folder",
    "data.name=cub": "the dataset is chosen by dataset=cub",
    "method.name=newton": "the method is chosen by method=newton",
    "~method": "would delete what every run needs",
    "~optimizer.lr": "would delete what every run needs",
    "threads=100000": "threads must be at most 1024, got 100000",  # there is no room for so many stacks
    "method=": "method= has no value; available: average, bilinear",
    "method=null": "unknown method 'null'; available: average, bilinear",
    "ckpt_path=": "ckpt_path= has no value; write ckpt_path=null for none",
    "hydra.run.dir=": "hydra.run.dir= has no value",
    "method=pade,isqrt": "to run each of them, add -m: python run.py -m method=pade,isqrt",
    "optimizer.lr=0.1,0.2": "add -m: python run.py -m optimizer.lr=0.1,0.2",
    "optimizer.lr=abc": "it takes a number, greater than 0",
    "optimizer.lr=null": "it takes a number, greater than 0",
    "optimizer.lr=nan": "optimizer.lr must be greater than 0, got nan",
    "optimizer.lr=inf": "optimizer.lr must be a finite number, got inf",
    "backbone.hidden=abc": "it takes a list of integers, at least 1, or null",
    "optimizer.lr=(1)": """put a value with characters like ~ ( ) = or accents in quotes""",
    "pade": "cannot read the argument 'pade'; write method=pade",
    "test": "cannot read the argument 'test'; write mode=test",
    "help": "write --help",
    "=": "write name=value without spaces around the =",
    "--lr 0.1": "unknown flag --lr; options are written without dashes, as name=value: optimizer.lr=...",
    "--epochs=3": "as name=value: trainer.max_epochs=3",
    "--method pade": "as name=value: method=...",
    "-lr 0.1": "unknown flag -lr",
    "--resolve": "--resolve goes with --cfg job",
    "--cfg nonsense": "invalid choice: 'nonsense'",
    "launcher=joblib": "launcher=joblib is for sweeps: add -m",
    "launcher=slurm": "launcher=slurm is for sweeps: add -m",
    "hydra/launcher=joblib": "launcher=joblib is for sweeps: add -m",
    "sweep.resume=true": "sweep.resume=true is for sweeps: add -m",
    "hydra.sweep.dir=there": "hydra.sweep.dir=there is for sweeps: add -m",
    "-m seed=0,1 hydra.run.dir=there": "hydra.run.dir=there is for a single run; a sweep goes to hydra.sweep.dir=DIR",
    "-m method=pade,padee": "1 of 2 jobs are wrong, so none was started: method=padee: unknown method 'padee'",
    "-m optimizer.lr=0.1,-1": "optimizer.lr=-1: optimizer.lr must be greater than 0",
    "-m method=pade,newton trainer.max_epochs=0": "2 of 2 jobs are wrong, so none was started: trainer.max_epochs must",
    "seed=4294967296": "seed must be at most 4294967295",
    "seed=-1": "seed must be at least 0",
    "data.seed=18446744073709551616": "data.seed must be at most 4294967295",
    "method=compact_bilinear method.seed=99999999999999999999": "method.seed must be at most 4294967295",
    "trainer.devices=-2": "trainer.devices must be a number of at least 1, auto, or -1",
    "trainer.devices=two": "trainer.devices must be a number of at least 1, auto, or -1",
    "trainer.devices=0": "trainer.devices must be a number of at least 1, auto, or -1",
    "trainer.limit_train_batches=0": "trainer.limit_train_batches must be greater than 0",
    "trainer.limit_val_batches=1.5": "must be a whole number of batches, or a fraction up to 1.0, got 1.5",
    "mode=test ckpt_path=a trainer.limit_test_batches=0": "tests nothing",
    "trainer.max_epochs=99999999999999999999": "trainer.max_epochs must be at most 2147483647",
    "data.image_size=99999999999999999999": "data.image_size must be at most 16384",
    "data.batch_size=99999999999999999999": "data.batch_size must be at most 2147483647",
    "method=newton method.iterations=100000000": "method.iterations must be at most 1000",
    "dataset=textures data.image_size=16384": "GB of memory, and there are",
    "data.image_size=16384": "GB of memory, and there are",
    "backbone.width=2000000000": "there is not enough memory for these sizes",
    "trainer.devices=-1 trainer.accelerator=cpu": "the trainer refuses its options",
    "trainer.devices=999 trainer.accelerator=cpu": "trainer.devices=999 starts as many processes on",
    "trainer.num_nodes=2": "trainer.num_nodes=2 needs a process on each machine",
    "plugins=gone": "plugin 'gone' cannot be imported: No module named 'gone'",
    "plugins=dir/mine.py": "is a file; name the module, plugins=[mine]",
    "--help nonsense": "there is no help on 'nonsense'",
}


@pytest.mark.parametrize("typed", UNDERSTOOD)
def test_what_can_mean_one_thing_is_understood(typed):
    assert readable([typed]) == [UNDERSTOOD[typed]]


def test_in_a_sweep_commas_separate_jobs():
    assert readable(["-m", "method=PADE,Newton", "backbone.hidden=8,16"]) == [
        "method=pade,newton",
        "backbone.hidden=[8],[16]",
        "-m",
    ]
    assert readable(["seed=0,1", "-m", "method=pade"]) == ["seed=0,1", "method=pade", "-m"]


@pytest.mark.parametrize("typed", REFUSED)
def test_what_cannot_is_refused_in_a_sentence(cli, tmp_path, typed):
    outcome = cli(*(["optimizer.lr=(1)"] if "(" in typed else typed.split()))
    assert outcome.code == 1
    assert REFUSED[typed] in outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    assert outcome.err.count("error: ") == 1
    assert not list(tmp_path.glob("**/*.ckpt"))


def test_a_deletion_and_an_empty_value_are_refused_before_anything_is_composed():
    for argument in ("~trainer", "trainer.max_epochs="):
        with pytest.raises(OptionError):
            readable([argument])


def test_what_is_understood_reaches_the_run(cli, tmp_path):
    arguments = ["method=Taylor", "backbone.hidden=8", "threads=None", "hydra.run.dir=a (é)"]
    assert cli(*arguments, *SMALL).code == 0
    config = OmegaConf.load(tmp_path / "a (é)/config.yaml")
    assert (config.method.name, config.backbone.hidden, config.threads) == ("taylor", [8], None)


def test_nothing_is_tested_if_that_is_asked_for_and_fewer_epochs_than_done_are_refused(cli, tmp_path, summary_of):
    few = [argument for argument in SMALL if "max_epochs" not in argument and "limit_test" not in argument]
    outcome = cli(*few, "trainer.max_epochs=2", "trainer.limit_test_batches=0", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert "not tested" in outcome.err
    assert summary_of(tmp_path / "run")["test/acc1"] is None
    outcome = cli("ckpt_path=run", "trainer.max_epochs=1", "hydra.run.dir=again")
    assert outcome.code == 1
    assert "trainer.max_epochs=1 is less than the 2 epochs that run/checkpoints/last.ckpt has behind it" in outcome.err


@pytest.mark.parametrize("topic", [*GROUPS, *SECTIONS, *OVERLAYS, "run", "data"])
def test_help_on_one_group_describes_each_of_its_options(cli, topic):
    outcome = cli("--help", topic)
    assert outcome.code == 0, outcome.err
    words = " ".join(outcome.out.split())
    section, options = next(
        ((section, [registry.get(name).options for name in registry.names()])
         for group, (section, registry) in GROUPS.items() if topic in (group, section)),
        (topic, [SECTIONS[topic]] if topic in SECTIONS else []),
    )  # fmt: skip
    for each in options:
        for field in dataclasses.fields(each):
            assert f"{section}.{field.name}=" in words
            assert " ".join(field.metadata["help"].split())[:25] in words
    for other in ({"method", "trainer"} - {topic}) if options else ():
        assert f" {other}.precision=" not in words


def test_help_on_a_name_and_on_an_option(cli):
    name = cli("--help", "method=taylor").out
    assert "method.degree=100   an integer, at least 1" in name
    assert "method.limit" not in name
    assert "optimizer.lr=0.1   a number, greater than 0" in cli("--help", "optimizer.lr").out
