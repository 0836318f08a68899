"""Weights & Biases: offline runs, read back from the file they leave."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.errors import CommError

from gcp.errors import OptionError
from lightning_modules.loggers import wandb as ours
from lightning_modules.run.spec import Run
from lightning_modules.settings.loggers import WandbOptions
from tests.small import SMALL


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no mode and no settings of the person who runs the tests."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))


@cache  # a second each; a finished run changes no more
def records(directory: Path) -> list[dict[str, Any]]:
    """What an offline run under ``directory`` recorded, one dict a record."""
    (file,) = directory.glob("wandb/offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def of_type(directory: Path, kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in records(directory) if record["type"] == kind]


def test_a_run_without_a_key_is_offline_and_complete(cli, tmp_path):
    outcome = cli("logger=wandb", "logger.tags=[trial]", "method=newton", *SMALL, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("W&B is offline: no API key is configured") == 1
    (header,) = of_type(tmp_path / "run", "run")
    assert header["display_name"] == "newton-tiny-digits-s0"
    assert header["run_group"] == "tiny-digits"
    assert set(header["tags"]) == {"newton", "tiny", "digits", "seed0", "trial"}
    config = header["config"]["update"]
    assert config["method"].items() >= {"name": "newton", "reduced_channels": 256, "iterations": 10}.items()
    assert config["trainer"]["max_epochs"] == 1
    text = json.dumps(of_type(tmp_path / "run", "history"))
    for metric in ("train/loss_epoch", "val/acc1", "test/acc1"):
        assert metric in text
    (end,) = of_type(tmp_path / "run", "exit")
    assert end.get("exit_code", 0) == 0
    assert wandb.run is None


def test_a_resumed_run_goes_on_in_its_run_of_wandb(cli, tmp_path):
    assert cli("logger=wandb", *SMALL, "hydra.run.dir=run").code == 0
    outcome = cli("logger=wandb", "ckpt_path=last", "trainer.max_epochs=2", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    names = [path.name for path in tmp_path.glob("run/wandb/offline-run-*")]
    assert len(names) == 2
    identity = (tmp_path / "run/wandb.id").read_text().strip()
    assert all(name.split("-")[3] == identity for name in names), names  # a second one in one second ends in -1


def test_each_job_of_a_sweep_closes_its_run_also_a_failed_one(cli, tmp_path):
    outcome = cli("-m", "optimizer.lr=1e30,0.1", "logger=wandb", *SMALL, "hydra.sweep.dir=lr")
    assert outcome.code == 1  # the first job runs into NaN
    folders = [
        tmp_path / f"lr/{job}-pade-tiny-digits-s0-optimizer.lr={rate}" for job, rate in enumerate(("1e+30", "0.1"))
    ]
    codes = [of_type(folder, "exit")[0].get("exit_code", 0) for folder in folders]
    assert codes == [1, 0]
    assert wandb.run is None


@pytest.mark.parametrize(
    ("environment", "option", "expected"),
    [
        (None, "auto", "offline"),
        (None, "online", "online"),
        (None, "disabled", "disabled"),
        ("disabled", "online", "disabled"),
        ("offline", "online", "offline"),
        ("online", "offline", "online"),
    ],
)
def test_wandb_mode_wins_over_the_option(monkeypatch, environment, option, expected):
    if environment:
        monkeypatch.setenv("WANDB_MODE", environment)
    assert ours._mode(WandbOptions(mode=option))[0] == expected


@pytest.mark.parametrize(
    ("variable", "option", "expected"),
    [(None, None, "gcp"), ("theirs", None, "theirs"), ("theirs", "mine", "mine"), ("theirs", "gcp", "gcp")],
)
def test_the_option_names_the_project_or_else_the_variable(monkeypatch, tmp_path, variable, option, expected):
    if variable:
        monkeypatch.setenv("WANDB_PROJECT", variable)
    experiment = ours._started(WandbOptions(mode="offline", project=option), {"dir": str(tmp_path)})
    found = experiment.project
    ours.close(0)
    assert found == expected


@pytest.mark.parametrize("error", [CommError("Run initialization has timed out after 30.0 sec."), TimeoutError()])
def test_a_service_that_does_not_answer_leaves_an_offline_run(monkeypatch, tmp_path, capfd, error):
    """With a key, but no service: the failure of ``wandb.init`` is simulated, since the real one takes 30 s."""
    start = wandb.init

    def init(**arguments: Any) -> Any:
        if arguments["mode"] == "online":
            assert arguments["settings"].init_timeout == 30
            raise error
        return start(**arguments)

    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr(wandb, "init", init)
    sections = {"method": {"name": "pade"}, "backbone": {"name": "tiny"}, "data": {"name": "digits"}, "seed": 0}
    logger = ours.build(Run(tmp_path, sections), WandbOptions())
    logger.log_metrics({"val/acc1": 0.5}, step=0)
    ours.close(0)
    assert "W&B is offline: the service did not take the run" in capfd.readouterr().err
    assert of_type(tmp_path, "run")[0]["display_name"] == "pade-tiny-digits-s0"


@pytest.mark.parametrize(
    ("environment", "options", "message"),
    [
        ({}, {"project": "a/b"}, "Invalid project name 'a/b'"),
        ({}, {"project": "p" * 200}, "exceeded 128 characters"),
        ({"WANDB_PROJECT": "a/b#"}, {}, "Invalid project name 'a/b#'"),
        ({}, {"tags": ["t" * 100]}, "Tags must be between 1 and 64 characters"),
    ],
)
def test_settings_that_wandb_refuses_are_one_sentence(monkeypatch, tmp_path, environment, options, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    sections = {"method": {"name": "pade"}, "backbone": {"name": "tiny"}, "data": {"name": "digits"}, "seed": 0}
    with pytest.raises(OptionError) as caught:
        ours.build(Run(tmp_path, sections), WandbOptions(mode="offline", **options))
    assert str(caught.value).startswith("W&B refuses its settings: ")
    assert message in str(caught.value)
    assert str(caught.value).endswith("mend logger.project, logger.tags or the variables WANDB_*")
    assert "\n" not in str(caught.value)
    assert wandb.run is None


def test_an_unknown_mode_of_wandb_is_offline_and_said(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    assert ours._mode(WandbOptions()) == ("offline", "WANDB_MODE=nonsense is unknown")
