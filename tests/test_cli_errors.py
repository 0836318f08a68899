"""Wrong input on the command line: one sentence, exit code 1, no stack trace, nothing that looks finished."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT
from tests.small import SMALL

CASES = {
    "unknown method": (["method=pad"], "unknown method 'pad' (did you mean 'pade'?); available: average,"),
    "unknown backbone": (["backbone=resnet51"], "unknown backbone 'resnet51' (did you mean 'resnet50'?)"),
    "unknown dataset": (
        ["dataset=digit"],
        "unknown dataset 'digit' (did you mean 'digits'?); available: aircraft",
    ),
    "misspelt option": (["method=taylor", "method.degre=5"], "unknown option method.degre (did you mean 'degree'?)"),
    "misspelt group": (["metod=pade"], "unknown option metod (did you mean 'method'?)"),
    "another method's option": (["method.degree=50"], "(degree is an option of mpa, mtp, taylor)"),
    "negative degree": (["method=taylor", "method.degree=-3"], "method.degree must be at least 1, got -3"),
    "negative epochs": (["trainer.max_epochs=-2"], "trainer.max_epochs must be at least 1, got -2"),
    "word for a number": (["optimizer.lr=abc"], "optimizer.lr: Value 'abc' of type 'str' could not be converted"),
    "unknown mode": (
        ["mode=train"],
        "mode must be one of fit, test, export, predict, report, analyze, shards, got 'train'",
    ),
    "no checkpoint given": (["mode=test"], "mode=test needs ckpt_path"),
    "missing checkpoint": (["mode=test", "ckpt_path=gone.ckpt"], "no checkpoint at gone.ckpt"),
    "no newest run": (["mode=test", "ckpt_path=last"], "found no checkpoints/last.ckpt under outputs"),
    "one position": (["backbone=resnet18", "data.image_size=32"], "feature map of 1x1"),
    "too small": (["backbone=alexnet", "backbone.hidden=[]", "data.image_size=16"], "images of 16x16 are too small"),
    "topn beyond C": (["method=topn", "method.n=100"], "cannot keep n=100 eigenvalues of a covariance of 64 channels"),
    "frozen": (["backbone.frozen=20"], "frozen must be at most 9, the number of the backbone's children, got 20"),
    "hidden": (["backbone.hidden=[0]"], "backbone.hidden must be at least 1, got 0"),
    "timm model": (["backbone=timm", "backbone.model=vit_tinny"], "has no model 'vit_tinny' (did you mean"),
    "triangle": (["ckpt_triangle=left"], "ckpt_triangle must be one of upper, lower, got 'left'"),
    "new classifier in a test": (["mode=test", "ckpt_path=a", "ckpt_classifier=new"], "leave out ckpt_classifier=new"),
    "weights without network": (["backbone=resnet18", "backbone.weights=DEFAULT"], "could not fetch the weights"),
    "unknown weights": (["backbone=resnet18", "backbone.weights=V9"], "resnet18 has no weights 'V9'"),
    "missing plugin": (["plugins=[no_such_module]"], "plugin 'no_such_module' cannot be imported"),
    "not an override": (["pade"], "cannot read the argument 'pade'"),
    "unknown torch optimizer": (
        ["optimizer=torch", "optimizer.cls=Adamm"],
        "no optimizer 'Adamm' (did you mean 'Adam'?)",
    ),
    "unknown argument": (
        ["optimizer=torch", "optimizer.cls=RMSprop", "optimizer.arguments.alfa=0.9"],
        "torch.optim.RMSprop has no argument 'alfa' (did you mean 'alpha'?)",
    ),
    "switch without milestones": (["switch.to=newton", "schedule=cosine"], "set schedule=step and schedule.milestones"),
    "long warm-up": (["schedule.warmup_epochs=15"], "schedule.warmup_epochs=15 leaves nothing of a training of 15"),
    "unknown accelerator": (["trainer.accelerator=quantum"], "the trainer refuses its options"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence(cli, tmp_path, monkeypatch, case):
    arguments, message = CASES[case]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))  # weights cached by a person must not be found
    outcome = cli(*arguments)
    assert outcome.code == 1
    assert message in outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    assert outcome.err.count("error: ") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


# The text of a plugin, and what the sentence has to hold.
PLUGINS = {
    "syntax": (
        "def broken(:\n",
        "plugin 'syntax' fails when imported (SyntaxError: invalid syntax (syntax.py, line 1))",
    ),
    "leaves": ("raise SystemExit('enough')\n", "plugin 'leaves' fails when imported (SystemExit: enough)"),
    "quiet": ("raise SystemExit\n", "plugin 'quiet' fails when imported (SystemExit"),
    "divides": ("1 / 0\n", "plugin 'divides' fails when imported (ZeroDivisionError: division by zero)"),
    "lacks": ("import no_such_library\n", "plugin 'lacks' cannot be imported: No module named 'no_such_library'"),
    "nothing": ("register(lambda options: None)\n", "dataset 'mine' must give an ImageDataModule"),
    "number": ("register(3)\n", "dataset 'mine' must give an ImageDataModule (datamodules.base), got int"),
    "nowhere": ("register('nowhere:Mine')\n", "there is no 'nowhere:Mine'"),
    "abstract": (
        "from datamodules.base import ImageDataModule\nclass Mine(ImageDataModule): pass\nregister(Mine)\n",
        "the data module of dataset 'mine' lacks class_names, make_splits",
    ),
    "parts": (
        "class Mine(DigitsDataModule):\n    def make_splits(self): return None\nregister(Mine)\n",
        "make_splits of Mine must give datamodules.splits.Splits(train, val, test), got NoneType",
    ),
    "unready": (
        "class Mine(DigitsDataModule):\n    def setup(self, stage=None): raise OSError('no way')\nregister(Mine)\n",
        "no way (OSError in unready.py:",
    ),
}
REGISTERING = """
from datamodules.datasets import DatasetInfo, register_dataset
from datamodules.digits import DigitsDataModule
from datamodules.options import DigitsOptions
def register(build):
    register_dataset(DatasetInfo("mine", DigitsOptions, build, 10, "digits"))
"""


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_that_does_not_do_what_it_has_to(cli, tmp_path, name):
    text, message = PLUGINS[name]
    registers = "register(" in text
    (tmp_path / f"{name}.py").write_text(REGISTERING + text if registers else text)
    outcome = cli(f"plugins=[{name}]", *(["dataset=mine"] if registers else []), *SMALL, "hydra.run.dir=run")
    sys.modules.pop(name, None)
    assert outcome.code == 1
    assert message in outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    assert outcome.err.count("error: ") == 1


def test_a_file_that_asks_for_code_to_run_gets_no_advice_to_run_it(cli, tmp_path):
    (tmp_path / "code.ckpt").write_bytes(pickle.dumps(print))
    torch.save({"a": torch.nn.Linear(2, 2)}, tmp_path / "object.ckpt")
    for file in ("code.ckpt", "object.ckpt"):
        for arguments in ([f"ckpt_path={file}"], ["mode=test", f"ckpt_path={file}"], [f"backbone.weights={file}"]):
            outcome = cli(*arguments, *SMALL, "hydra.run.dir=run")
            assert outcome.code == 1
            assert "is no readable checkpoint" in outcome.err
            assert "weights_only=False" not in outcome.err + outcome.out
            assert "Traceback" not in outcome.err + outcome.out


def test_the_drawing_backend_of_a_notebook_is_not_used():
    """Matplotlib refuses, when it is imported, the name that a notebook leaves in the environment."""
    code = (
        "import sys; sys.argv = ['run.py', '--help', 'method=pade']\n"
        "import run; run.main()\n"
        "import matplotlib; print(matplotlib.get_backend())\n"
    )
    environment = {**os.environ, "MPLBACKEND": "nbagg_of_nobody"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1].lower() == "agg"


def test_checkpoints_that_are_none(cli, tmp_path):
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    for name, message in (("text", "no readable checkpoint"), ("foreign", "holds no weights but nothing")):
        outcome = cli("mode=test", f"ckpt_path={name}.ckpt")
        assert outcome.code == 1
        assert message in outcome.err
        assert "Traceback" not in outcome.err


def test_nan_in_the_data_names_batch_and_step(cli, tmp_path, monkeypatch, summary_of):
    (tmp_path / "broken_data.py").write_text(
        "import torch\n"
        "from datamodules.datasets import DatasetInfo, register_dataset\n"
        "from datamodules.options import DigitsOptions\n"
        "from datamodules.digits import DigitsDataModule\n"
        "class Broken(DigitsDataModule):\n"
        "    def train_dataloader(self):\n"
        "        for index, (images, labels) in enumerate(super().train_dataloader()):\n"
        "            if index == 1:\n"
        "                images = images.clone()\n"
        "                images[3, 0, 2, 2] = float('nan')\n"
        "            yield images, labels\n"
        "register_dataset(DatasetInfo('broken', DigitsOptions, Broken, 10, 'digits with a NaN'))\n"
    )
    outcome = cli("plugins=[broken_data]", "dataset=broken", *SMALL, "hydra.run.dir=broken")
    assert outcome.code == 1
    assert "the images hold NaN or infinity (sample 3)" in outcome.err
    assert "train batch 1, epoch 1, step 1" in outcome.err
    assert "Traceback" not in outcome.err
    assert summary_of(tmp_path / "broken")["status"] == "failed"


def test_help_and_errors_need_no_torch():
    """They answer at once because nothing heavy is imported; measured by what is loaded, not by the clock."""
    for arguments, expected in ((["--help"], "method=..."), (["method=pad"], "unknown method")):
        code = (
            f"import sys, runpy; sys.argv = ['run.py', *{arguments!r}]\n"
            "try:\n    runpy.run_path('run.py', run_name='__main__')\n"
            "except SystemExit as stop:\n    print(stop.code)\n"
            "print([name for name in ('torch', 'pytorch_lightning', 'wandb', 'sklearn') if name in sys.modules])\n"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert expected in done.stdout
        assert done.stdout.strip().endswith("[]")
