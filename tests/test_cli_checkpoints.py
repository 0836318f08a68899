"""What a checkpoint brings to the command that names it, what it does not, and what is started anew from it."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys

import pytest
import torch
from omegaconf import OmegaConf

from lightning_modules.run.merge_config import merge
from tests.conftest import ROOT
from tests.datamodules import fabricate
from tests.small import SMALL

PLUGIN = """
from dataclasses import dataclass
import gcp
from gcp.methods import SpectralOptions
from gcp.options import option

@dataclass(frozen=True)
class HalfOptions(SpectralOptions):
    factor: float = option(0.5, "of the exact gradient", above=0)

def half(spectrum, options):
    return options.factor * spectrum.with_limits(spectrum.divided_differences())

gcp.register_method("half", options=HalfOptions, kernel=half)
"""


ON_FOLDER = (
    "data.batch_size=2",
    *(each for each in SMALL if not each.startswith(("data.batch_size", "trainer.limit"))),
)


def checkpoint(path):
    return torch.load(path / "checkpoints/last.ckpt", weights_only=True)


def folder_run(cli, tmp_path, *arguments):
    """A run on a folder of images, with a plugin's method, in ``run``; the images are then moved to ``moved``."""
    (tmp_path / "my_half.py").write_text(PLUGIN)
    fabricate.folder(tmp_path / "here")
    network = ("plugins=[my_half]", "method=half", "method.factor=0.25", "dataset=folder", "data.root=here")
    outcome = cli(*network, *ON_FOLDER, "hydra.run.dir=run", *arguments)
    assert outcome.code == 0, outcome.err
    (tmp_path / "here").rename(tmp_path / "moved")


def forget(cli):
    """As in a new process, where nobody has imported the plugin."""
    from gcp.methods import METHODS

    METHODS._entries.pop("half", None)
    sys.modules.pop("my_half", None)


@pytest.fixture(autouse=True)
def _another_folder(cli):
    """The next test has a plugin of that name elsewhere."""
    yield
    forget(cli)


@pytest.mark.slow
def test_a_run_elsewhere_with_a_plugin(cli, tmp_path, summary_of, monkeypatch):
    """Its plugin, its dataset's and its network's options are known by its checkpoint; its places are not followed."""
    monkeypatch.delenv("GCP_DATA", raising=False)
    folder_run(cli, tmp_path)
    fitted = summary_of(tmp_path / "run")
    forget(cli)
    lost = cli("mode=test", "ckpt_path=run", "hydra.run.dir=lost")
    assert lost.code == 1
    assert "the run had them in data.root=here" in lost.err
    assert "give data.root=FOLDER, or set GCP_DATA" in lost.err
    forget(cli)
    outcome = cli("mode=test", "ckpt_path=run", "data.root=moved", "data.protocol=flip", "hydra.run.dir=test")
    assert outcome.code == 0, outcome.err
    assert "with the checkpoint's plugins: my_half" in outcome.err
    tested = summary_of(tmp_path / "test")
    assert (tested["method"], tested["dataset"], tested["params"]) == ("half", "folder", fitted["params"])
    config = OmegaConf.load(tmp_path / "test/config.yaml")
    assert (config.data.protocol, config.data.root, config.method.factor) == ("flip", "moved", 0.25)
    assert list(config.plugins) == ["my_half"]
    forget(cli)
    (tmp_path / "moved").rename(tmp_path / "folder")
    monkeypatch.setenv("GCP_DATA", str(tmp_path))
    outcome = cli("mode=test", "ckpt_path=run", "hydra.run.dir=found")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "found")["test/loss"] == pytest.approx(fitted["test/loss"], rel=1e-6)
    forget(cli)
    wrong = cli("mode=test", "ckpt_path=run", "data.protocl=flip")
    assert "unknown option data.protocl" in wrong.err
    assert "did you mean 'protocol'" in wrong.err
    forget(cli)
    other = cli("mode=predict", "ckpt_path=run", "backbone.width=12", "data.path=folder")
    assert "backbone.width=12 (checkpoint: 8)" in other.err
    forget(cli)
    outcome = cli("ckpt_path=last", "data.root=folder", "trainer.max_epochs=2", "hydra.run.dir=run")  # and goes on
    assert outcome.code == 0, outcome.err
    assert checkpoint(tmp_path / "run")["config"]["plugins"] == ["my_half"]
    (tmp_path / "my_half.py").unlink()
    forget(cli)
    gone = cli("mode=test", "ckpt_path=run", "data.root=folder")
    assert gone.code == 1
    assert "plugin 'my_half' cannot be imported" in gone.err


@pytest.mark.slow
def test_a_sweep_over_checkpoints(cli, tmp_path, summary_of, monkeypatch):
    """Each job by its own checkpoint's plugins and names, options by what all have in common; none is lost."""
    monkeypatch.delenv("GCP_DATA", raising=False)
    folder_run(cli, tmp_path)
    shutil.copytree(tmp_path / "run", tmp_path / "run 2")
    assert cli("method=newton", "dataset=folder", "data.root=moved", *ON_FOLDER, "hydra.run.dir=other").code == 0
    forget(cli)
    test = ("-m", "mode=test", "ckpt_path='run 2',other,run", "data.root=moved", "data.protocol=flip")
    outcome = cli(*test, "hydra.sweep.dir=sweep")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("with the checkpoint's plugins: my_half") == 1
    names = [
        "0-half-tiny-folder-s0-ckpt_path=_run_2_",
        "1-newton-tiny-folder-s0-ckpt_path=other",
        "2-half-tiny-folder-s0-ckpt_path=run",
    ]
    folders = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [path.name for path in folders] == names
    assert [summary_of(path)["method"] for path in folders] == ["half", "newton", "half"]
    shutil.rmtree(folders[0])
    forget(cli)
    outcome = cli(*test, "hydra.sweep.dir=sweep", "sweep.resume=true")
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "sweep").glob("*-half-*")) == [names[2], f"3{names[0][1:]}"]


def test_a_recipe_goes_on_with_the_checkpoints_plugins(cli, tmp_path, summary_of):
    (tmp_path / "my_half.py").write_text(PLUGIN)
    start = ("recipe=hybrid_digits", "switch.to=null", "method=half", "method.factor=0.25", *SMALL)
    outcome = cli("plugins=[my_half]", *start, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    forget(cli)
    outcome = cli("ckpt_path=run", *start, "trainer.max_epochs=2", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert (summary_of(tmp_path / "run")["epochs"], summary_of(tmp_path / "run")["method"]) == (2, "half")


def test_places_and_devices_of_a_checkpoint_are_not_followed():
    stored = {
        "method": {"name": "pade"},
        "backbone": {"name": "tiny", "weights": None},
        "data": {"name": "cub", "root": "/theirs", "download": True, "num_workers": 999, "image_size": 96},
        "trainer": {"devices": 64, "strategy": "ddp", "accelerator": "tpu", "num_nodes": 9, "precision": "bf16-mixed"},
        "logger": {"name": "wandb"},
        "threads": 512,
    }
    data = {"name": "cub", "root": None, "download": False, "num_workers": 0, "image_size": 448}
    trainer = {"devices": 1, "strategy": "auto", "accelerator": "auto", "num_nodes": 1, "precision": "32-true"}
    mine = {**stored, "data": data, "trainer": trainer, "logger": {"name": "csv"}, "threads": None}
    for mode in ("test", "predict", "export"):
        merged = merge({**mine, "mode": mode}, stored, [], training=False)
        assert merged["data"] == {**data, "image_size": 96}
        assert merged["trainer"] == {**trainer, "precision": "bf16-mixed"}
        assert (merged["logger"], merged["threads"]) == ({"name": "csv"}, None)
    going_on = merge({**mine, "mode": "fit"}, stored, [], training=True)  # one's own run, as it was
    assert (going_on["data"], going_on["trainer"]) == (stored["data"], stored["trainer"])


def test_fine_tuning_from_a_run_of_ones_own(cli, tmp_path, summary_of):
    """All but the classifier, or the backbone alone, for another dataset and by another method."""
    still = ("optimizer.lr=1e-30", "backbone.frozen=9")
    assert cli("method=taylor", "method.degree=7", "method.reduced_channels=4", *SMALL, "hydra.run.dir=run").code == 0
    before = checkpoint(tmp_path / "run")["state_dict"]
    other = [each for each in SMALL if not each.startswith("backbone")]
    textures = ("dataset=textures", "data.classes=3", "data.train_per_class=20", *still, *other)
    outcome = cli("ckpt_path=run", "ckpt_classifier=new", *textures, "hydra.run.dir=new")
    assert outcome.code == 0, outcome.err
    after = checkpoint(tmp_path / "new")
    assert (after["global_step"], after["config"]["method"]["degree"]) == (2, 7)
    assert after["config"]["data"]["name"] == "textures"
    assert after["state_dict"]["model.classifier.weight"].shape == (3, 10)
    for key, value in before.items():
        if key.startswith("model.features."):
            assert torch.equal(after["state_dict"][key], value), key
    reduction = "model.representation.reduction.0.weight"
    torch.testing.assert_close(after["state_dict"][reduction], before[reduction])
    assert summary_of(tmp_path / "new")["method"] == "taylor"

    for weights in ("run", "run/checkpoints/last.ckpt"):
        arguments = ("method=newton", "backbone.width=8", f"backbone.weights={weights}", *textures)
        outcome = cli(*arguments, f"hydra.run.dir={len(weights)}")
        assert outcome.code == 0, outcome.err
        backbone = checkpoint(tmp_path / str(len(weights)))["state_dict"]
        for key, value in before.items():
            if key.startswith("model.features."):
                assert torch.equal(backbone[key], value), key
    for weights, says in (
        ("DEFAULT", "tiny has no weights 'DEFAULT'; give a run directory"),
        ("run/checkpoints", "is no run directory"),
        ("gone.ckpt", "no checkpoint file at gone.ckpt"),
    ):
        assert says in cli(f"backbone.weights={weights}", *SMALL).err
    assert "other network" in cli("backbone.weights=run", *[*SMALL[1:], "backbone.width=12"]).err.replace("an", "")


@pytest.mark.slow
def test_going_on_at_another_rate_and_schedule(cli, tmp_path):
    """Asked for by ckpt_schedule=new; without it the change is refused by name."""
    start = ("schedule=step", "schedule.milestones=[2]", "optimizer.lr=0.1", "optimizer.momentum=0.8")
    assert cli(*SMALL, *start, "hydra.run.dir=run").code == 0
    first = checkpoint(tmp_path / "run")
    more = ("ckpt_path=last", "hydra.run.dir=run", "trainer.max_epochs=4")
    refused = cli(*more, "optimizer.lr=0.02")
    assert refused.code == 1
    assert "optimizer.lr=0.02 (checkpoint: 0.1)" in refused.err
    assert "ckpt_schedule=new" in refused.err
    assert "needs what is new" in cli(*more, "ckpt_schedule=new").err
    assert "optimizer.name=adamw (checkpoint: sgd)" in cli(*more, "ckpt_schedule=new", "optimizer=adamw").err
    assert "warmup_steps=5 (checkpoint: 0)" in cli(*more, "ckpt_schedule=new", "schedule.warmup_steps=5").err
    new = ("ckpt_schedule=new", "optimizer.lr=0.02", "optimizer.weight_decay=0.5", "schedule=cosine")
    outcome = cli(*more, *new)
    assert outcome.code == 0, outcome.err
    last = checkpoint(tmp_path / "run")
    assert last["global_step"] == first["global_step"] + 3 * 2
    group = last["optimizer_states"][0]["param_groups"][0]
    assert (group["weight_decay"], group["momentum"]) == (0.5, 0.8)
    with (tmp_path / "run/metrics.csv").open() as file:
        rates = [float(row["lr-SGD/features"]) for row in csv.DictReader(file) if row.get("lr-SGD/features")]
    expected = [0.1, *(0.02 * (1 + torch.tensor(torch.pi * epoch / 4).cos().item()) / 2 for epoch in (1, 2, 3))]
    assert sorted({round(rate, 6) for rate in rates}) == sorted({round(rate, 6) for rate in expected})
    again = cli("ckpt_path=last", "hydra.run.dir=run", "trainer.max_epochs=5")  # and keeps it
    assert again.code == 0, again.err
    assert checkpoint(tmp_path / "run")["config"]["schedule"]["name"] == "cosine"


LIBRARIES = ("rich", "wandb", "torchmetrics", "yaml", "hydra", "numpy", "filelock", "matplotlib", "my_other")


def start_beside_files_called_like_libraries(tmp_path):
    """Calls the installed command in a folder with such files, which say in the file "ran" when they are run."""
    for name in LIBRARIES:
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'ran')!r}, 'a').write('{name} ')\nimport nothing_of\n"
        )
    (tmp_path / "my_plugin.py").write_text(PLUGIN)
    (tmp_path / "start").mkdir()
    (tmp_path / "start/gcp-run.py").write_text("from run import main; main()")  # without the script's own folder
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(*arguments):
        command = [sys.executable, str(tmp_path / "start/gcp-run.py"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert not (tmp_path / "ran").exists()
        return done

    return start


def test_a_file_called_like_a_library_is_never_run(tmp_path):
    """Neither without plugins nor with them: the working directory is the last place where modules are looked for."""
    start = start_beside_files_called_like_libraries(tmp_path)
    refused = start("mode=report", "path=nothing", "hydra.run.dir=out")
    assert refused.returncode == 1
    assert "there is no folder nothing" in refused.stderr
    hidden = start("plugins=[yaml]", *SMALL)
    assert hidden.returncode == 1
    assert "plugin 'yaml' is the installed module" in hidden.stderr


@pytest.mark.slow
def test_nor_by_what_a_training_imports(tmp_path):
    start = start_beside_files_called_like_libraries(tmp_path)
    small = [*SMALL, "trainer.limit_train_batches=1", "hydra.run.dir=out"]
    done = start("plugins=[my_plugin]", "method=half", *small)
    assert done.returncode == 0, done.stderr


def test_without_plugins_the_working_directory_is_no_place_of_modules(cli, tmp_path):
    assert cli("method=nothing").code == 1
    assert str(tmp_path) not in sys.path
    (tmp_path / "my_half.py").write_text(PLUGIN)
    cli("plugins=[my_half]", "method=nothing")
    assert sys.path[-1] == str(tmp_path)
    forget(cli)
