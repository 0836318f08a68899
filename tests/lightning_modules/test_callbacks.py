"""Callbacks by name: those that come with the project and those of plugins, from the command line to the files."""

from __future__ import annotations

import csv

import pytest
import torch
from omegaconf import OmegaConf

from conf.help import show
from conf.writing import written
from gcp.errors import OptionError
from gcp.options import Options
from lightning_modules.report.differences import _counts
from lightning_modules.settings.callback_options import CallbackOptions
from lightning_modules.settings.callbacks import (
    CALLBACKS,
    completed,
    options_of_callback,
    register_callback,
    sections_of_callbacks,
)
from tests.small import SMALL

STOP = "callbacks.early_stopping"
NEVER_BETTER = (f"{STOP}.min_delta=100", "callbacks.monitor=val/loss")  # the first validation stays the best one
REST = (*SMALL, *NEVER_BETTER, "hydra.run.dir=run")


def epochs_of(directory, column="train/loss_epoch"):
    """Epoch and value of each row of metrics.csv that has the column."""
    with (directory / "metrics.csv").open() as file:
        return [(int(row["epoch"]), row[column]) for row in csv.DictReader(file) if row[column]]


@pytest.mark.parametrize("name", sections_of_callbacks())
def test_a_callback_is_on_as_soon_as_an_option_is_set(name):
    assert options_of_callback({name: {}}, name) is None
    assert options_of_callback({}, name) is None  # a checkpoint of a version without it
    entry = CALLBACKS.get(name)
    for option, value in vars(entry.options()).items():
        assert options_of_callback({name: {option: value}}, name) == entry.options(), "its default is a value too"
        assert options_of_callback({name: {option: value, "enabled": False}}, name) is None
    assert options_of_callback({name: {"enabled": True}}, name) == entry.options()
    full = completed({name: {"enabled": True}})
    assert full[name] == {"enabled": True, **vars(entry.options())}
    assert completed(full) == full


def test_help_and_file_list_every_callback_with_its_options(capsys):
    show(["callbacks"])
    (file,) = [text for path, text in written().items() if path.parent.name == "callbacks"]
    text = capsys.readouterr().out
    for name in sections_of_callbacks():
        assert f"\n{name}: {{}}\n" in file
        for option in ("enabled", *vars(CALLBACKS.get(name).options())):
            assert f"callbacks.{name}.{option}=" in text
            assert f"  # {option}: " in file.partition(f"\n{name}: ")[2]
    show(["early_stopping"])
    assert "callbacks.early_stopping.patience=10   an integer, at least 1" in capsys.readouterr().out


def test_what_is_wrong_is_refused_with_the_nearest_name(cli, tmp_path):
    cases = {
        "callbacks.early_stoping.patience=5": "callbacks.early_stoping (did you mean 'early_stopping'?)",
        f"{STOP}.patiense=5": f"unknown option {STOP}.patiense (did you mean 'patience'?)",
        f"{STOP}.patience=0": f"{STOP}.patience must be at least 1, got 0",
        f"{STOP}.patience=soon": f"{STOP}.patience must be an integer, got 'soon'",
        f"{STOP}.monitor=val/acc": f"{STOP}.monitor must be one of val/acc1",
        f"{STOP}.enabled=maybe": f"{STOP}.enabled must be true or false",
        f"{STOP}=true": f"{STOP}: options are set one by one, {STOP}.option=value",
        "patience=5": f"write {STOP}.patience=...",
    }
    for argument, message in cases.items():
        outcome = cli(argument)
        assert outcome.code == 1
        assert message in outcome.err
        assert outcome.err.count("error: ") == 1
    assert not list(tmp_path.iterdir())


def test_early_stopping_says_so_and_a_stopped_run_stays_stopped(cli, tmp_path, summary_of):
    outcome = cli(*REST, "trainer.max_epochs=6", f"{STOP}.patience=2")
    assert outcome.code == 0, outcome.err
    sentence = "stopped early after epoch 3 of 6: val/loss is no better than"
    assert sentence in outcome.out
    assert "epochs" in outcome.out
    assert "stopped early" in outcome.out.partition("files  ")[0].rpartition("pade-tiny-digits-s0")[2]  # the table
    summary = summary_of(tmp_path / "run")
    assert (summary["epochs"], summary["early_stopping/epoch"]) == (3, 3)
    assert summary["early_stopping/reason"].endswith("for 2 epochs")
    assert summary["test/acc1"] is not None
    config = OmegaConf.load(tmp_path / "run" / "config.yaml")
    assert config.callbacks.early_stopping.patience == 2
    assert config.callbacks.early_stopping.enabled is True
    before = (tmp_path / "run" / "metrics.csv").read_text()
    again = cli("ckpt_path=last", "hydra.run.dir=run")
    assert again.code == 0, again.err
    assert sentence in again.out
    assert epochs_of(tmp_path / "run") == [row for row in epochs_of(tmp_path / "run") if row[0] <= 3]
    assert (tmp_path / "run" / "metrics.csv").read_text().startswith(before.rstrip().rpartition("\n")[0])
    patient = cli("ckpt_path=last", "hydra.run.dir=run", f"{STOP}.patience=4")
    assert patient.code == 0, patient.err
    assert summary_of(tmp_path / "run")["epochs"] == 5
    off = cli("ckpt_path=last", "hydra.run.dir=run", f"{STOP}.enabled=false")
    assert off.code == 0, off.err
    summary = summary_of(tmp_path / "run")
    assert (summary["epochs"], summary["early_stopping/epoch"], summary["early_stopping/reason"]) == (6, None, None)


def test_a_resumed_run_stops_where_it_would_have(cli, tmp_path, summary_of):
    first = cli(*REST, "trainer.max_epochs=2", f"{STOP}.patience=3")
    assert first.code == 0, first.err
    assert "stopped early" not in first.out
    assert cli("ckpt_path=last", "hydra.run.dir=run", "trainer.max_epochs=9").code == 0
    assert cli(*SMALL, *NEVER_BETTER, "trainer.max_epochs=9", f"{STOP}.patience=3", "hydra.run.dir=whole").code == 0
    assert summary_of(tmp_path / "run")["early_stopping/epoch"] == 4
    assert epochs_of(tmp_path / "run") == epochs_of(tmp_path / "whole")
    states = [torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("run", "whole")]
    assert all(torch.equal(a, b) for a, b in zip(*(each["state_dict"].values() for each in states), strict=True))


def test_patience_counts_epochs_however_seldom_they_are_validated(cli, tmp_path, summary_of):
    outcome = cli(*REST, "trainer.max_epochs=9", "trainer.check_val_every_n_epoch=2", f"{STOP}.patience=3")
    assert outcome.code == 0, outcome.err
    summary = summary_of(tmp_path / "run")
    assert summary["epochs"] == 6  # validated after 2, 4 and 6
    assert summary["early_stopping/reason"].endswith("for 4 epochs")


def test_a_metric_of_training_and_a_threshold_may_decide(cli, tmp_path, summary_of):
    own = (f"{STOP}.monitor=train/loss", f"{STOP}.threshold=1000", "trainer.check_val_every_n_epoch=2")
    outcome = cli(*SMALL, *own, "trainer.max_epochs=5", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    summary = summary_of(tmp_path / "run")
    assert summary["early_stopping/epoch"] == 2  # the first validated one
    assert summary["early_stopping/reason"] == "train/loss is better than 1000"
    assert summary["final/val/acc1"] is not None


def test_a_run_that_had_decided_to_stop_inside_an_epoch_ends_with_it(cli, tmp_path, summary_of):
    own = ("callbacks.monitor=val/loss", f"{STOP}.threshold=1000", "trainer.check_val_every_n_epoch=2")
    assert cli(*SMALL, *own, "trainer.max_epochs=5", "hydra.run.dir=run").code == 0
    outcome = cli("ckpt_path=run/checkpoints/best.ckpt", "hydra.run.dir=again")  # written before the epoch is over
    assert outcome.code == 0, outcome.err
    for name in ("run", "again"):
        assert (summary_of(tmp_path / name)["epochs"], summary_of(tmp_path / name)["early_stopping/epoch"]) == (2, 2)
    states = [torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("run", "again")]
    best = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)
    progress = best["loops"]["fit_loop"]["epoch_progress"]["current"]
    assert progress["processed"] < progress["ready"]
    assert states[0]["loops"]["fit_loop"]["epoch_progress"] == states[1]["loops"]["fit_loop"]["epoch_progress"]


def test_the_monitors_of_lightning_write_to_the_loggers(cli, tmp_path):
    pytest.importorskip("psutil")
    arguments = ("callbacks.device_stats.enabled=true", "callbacks.throughput.window_size=2")
    outcome = cli(*SMALL, *arguments, "trainer.log_every_n_steps=1", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    with (tmp_path / "run" / "metrics.csv").open() as file:
        columns = csv.DictReader(file).fieldnames
    assert any(name.startswith("DeviceStatsMonitor.on_train_batch_end/cpu_percent") for name in columns)
    assert "train|device/samples_per_sec" in columns or any("samples_per_sec" in name for name in columns)
    assert "flops_per_batch" not in outcome.err


def test_a_missing_psutil_is_named(cli, monkeypatch):
    from lightning_modules.callbacks import monitors

    monkeypatch.setattr(monitors, "find_spec", lambda name: None)
    outcome = cli(*SMALL, "callbacks.device_stats.cpu_stats=true")
    assert outcome.code == 1
    assert "pip install '.[monitor]'" in outcome.err


PLUGIN = """
from dataclasses import dataclass

from pytorch_lightning.callbacks import Callback

from gcp.options import Options, option
from lightning_modules.settings.callbacks import register_callback


@dataclass(frozen=True)
class MineOptions(Options):
    every: int = option(2, "steps between two counts", minimum=1)


class Mine(Callback):
    def __init__(self, every):
        self.every, self.counted = every, 0

    @property
    def summary_entries(self):
        return {"mine/counted": self.counted}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.counted += trainer.global_step % self.every == 0

    def state_dict(self):
        return {"counted": self.counted}

    def load_state_dict(self, state):
        self.counted = state["counted"]


register_callback("mine", MineOptions, lambda run, options: Mine(options.every), "counts steps")
"""


def test_a_callback_of_a_plugin(cli, tmp_path, summary_of, monkeypatch):
    (tmp_path / "my_callbacks.py").write_text(PLUGIN)
    monkeypatch.delitem(__import__("sys").modules, "my_callbacks", raising=False)
    mine = ("plugins=[my_callbacks]", "callbacks.mine.every=1")
    outcome = cli(*SMALL, *mine, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert summary_of(tmp_path / "run")["mine/counted"] == 2
    assert cli("ckpt_path=last", "hydra.run.dir=run", "trainer.max_epochs=2").code == 0
    assert summary_of(tmp_path / "run")["mine/counted"] == 4
    wrong = cli("plugins=[my_callbacks]", "callbacks.mine.evry=1")
    assert "unknown option callbacks.mine.evry (did you mean 'every'?)" in wrong.err
    assert "callbacks.mine.every=2   an integer, at least 1" in cli("plugins=[my_callbacks]", "--help", "mine").out
    assert cli("mode=test", "ckpt_path=run", "hydra.run.dir=test").code == 0  # it is for training alone
    assert "mine/counted" not in summary_of(tmp_path / "test")


def test_what_cannot_be_a_callback_is_refused(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(CALLBACKS, "_entries", dict(CALLBACKS._entries))
    for name, message in (("monitor", "is an option of the section"), ("early_stopping", "registered already")):
        with pytest.raises(OptionError, match=message):
            register_callback(name, Options, "a:b", "what")
    (tmp_path / "no_callback.py").write_text(
        "from gcp.options import Options\n"
        "from lightning_modules.settings.callbacks import register_callback\n"
        "register_callback('mine', Options, lambda run, options: 3, 'a number')\n"
    )
    monkeypatch.delitem(__import__("sys").modules, "no_callback", raising=False)
    outcome = cli(*SMALL, "plugins=[no_callback]", "callbacks.mine.enabled=true")
    assert outcome.code == 1
    assert "the callback 'mine' must be a Callback of Lightning's, its builder gave int" in outcome.err


def test_reports_tell_runs_apart_by_callbacks_that_decide():
    assert _counts(f"{STOP}.patience")
    assert _counts("callbacks.mine.every")  # of a plugin that is not here
    assert not _counts("callbacks.throughput.window_size")
    assert not _counts("callbacks.progress_bar")


def test_flat_options_keep_their_names_and_defaults():
    assert CallbackOptions() == CallbackOptions(
        monitor="val/acc1",
        monitor_mode=None,
        checkpoint_every_n_steps=None,
        spectrum_every_n_steps=50,
        smoothness_every_n_steps=None,
        progress_bar=True,
        log_learning_rate=True,
        confusion_matrix=False,
    )
