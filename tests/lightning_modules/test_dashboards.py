"""Dashboards: what a sweep leaves for W&B and TensorBoard, read back; sweeps and panels from files."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import wandb
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_modules import dashboard
from lightning_modules import metric_names as names
from tests.conftest import ROOT
from tests.lightning_modules.test_wandb import no_account as no_account
from tests.lightning_modules.test_wandb import of_type
from tests.small import SMALL

WATCHED = ("callbacks.spectrum_every_n_steps=1", "callbacks.confusion_matrix=true")


def keys(directory):
    """Names of what was logged."""
    return {name.split(".")[0] for record in of_type(directory, "history") for name in record["item"]}


@pytest.mark.slow
def test_a_sweep_of_two_methods_reads_as_one_comparison(cli, tmp_path):
    outcome = cli("-m", "method=pade,newton", "logger=wandb", *WATCHED, *SMALL, "hydra.sweep.dir=sweeps/first")
    assert outcome.code == 0, outcome.err
    sweep = tmp_path / "sweeps/first"
    for job, method in enumerate(("pade", "newton")):
        directory = sweep / f"{job}-{method}-tiny-digits-s0"
        (header,) = of_type(directory, "run")
        assert header["run_group"] == "sweeps/first"
        assert header["job_type"] == "fit"
        assert {method, "tiny", "digits", "seed0"} == set(header["tags"])
        assert header["config"]["update"]["method"]["name"] == method
        logged = keys(directory)
        assert {names.CONDITION, names.GRAD_ERROR, names.IMAGES_PER_SECOND, "val/acc1", "test/acc1"} <= logged
        history = [record["item"] for record in of_type(directory, "history")]
        assert any(item.get(f"{names.EIGENVALUES}._type") == "histogram" for item in history)
        assert names.EIGENVALUES in logged
        assert names.CONFUSION in logged
        metrics = {record.get("name") or record.get("glob_name"): record for record in of_type(directory, "metric")}
        assert metrics["val/acc1"]["summary"]["max"] is True
        assert metrics["val/loss"]["summary"]["min"] is True
    (report,) = of_type(sweep, "run")
    assert (report["run_group"], report["job_type"]) == ("sweeps/first", "report")
    assert {"report/table", "report/picture"} <= keys(sweep)
    (table,) = sweep.glob("wandb/offline-run-*/files/media/table/report/table_*.json")
    contents = json.loads(table.read_text())
    assert contents["columns"][0] == "method"
    assert [row[0] for row in contents["data"]] == ["pade", "newton"]
    assert wandb.run is None


@pytest.fixture
def sweep_of_wandb(monkeypatch):
    """W&B reads the variable once a process, and would take the runs of later tests for its sweep's."""
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc123")
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.usefixtures("sweep_of_wandb")
def test_a_sweep_of_wandb_drives_the_command_line(cli, tmp_path, summary_of):
    sweep = yaml.safe_load((ROOT / "conf/wandb_sweep.yaml").read_text())
    assert (ROOT / sweep["program"]).exists()
    assert sweep["command"][:3] == ["${env}", "${interpreter}", "${program}"]
    chosen = [f"{name}={parameter['values'][-1]}" for name, parameter in sweep["parameters"].items()]
    position = sweep["command"].index("${args_no_hyphens}")
    arguments = [*chosen, *sweep["command"][position + 1 :]]
    outcome = cli(*arguments, *SMALL, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    summary = summary_of(tmp_path / "run")
    assert (summary["method"], summary["seed"]) == ("original", 2)
    (header,) = of_type(tmp_path / "run", "run")
    assert set(header["config"]["update"]) - {"_wandb"} == {"run"}  # `method` is the controller's


def test_tensorboard_has_scalars_histograms_and_pictures(cli, tmp_path):
    outcome = cli("logger=tensorboard", *WATCHED, *SMALL, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"val/acc1", "test/acc1", names.CONDITION, names.EPOCH_SECONDS} <= set(tags["scalars"])
    assert tags["histograms"] == [names.EIGENVALUES]
    assert tags["images"] == [names.CONFUSION]
    assert (tmp_path / "run/metrics.csv").exists()


def test_tensorboard_that_is_not_installed(cli, monkeypatch):
    monkeypatch.setattr("lightning_modules.loggers.tensorboard.find_spec", lambda name: None)
    outcome = cli("logger=tensorboard", *SMALL)
    assert outcome.code == 1
    assert "pip install '.[tensorboard]'" in outcome.err


def test_the_panels_are_those_of_the_metrics():
    made = dashboard.workspace("someone", "gcp")
    panels = {panel.title for section in made.sections for panel in section.panels}
    assert panels == {name for section in dashboard.SECTIONS.values() for name in section}
    assert {*names.SPECTRUM, *names.GRADIENT, *names.TIME, "val/acc1", "test/acc1"} <= panels
    assert [section.name for section in made.sections] == list(dashboard.SECTIONS)
    conditions = [panel for section in made.sections for panel in section.panels if panel.title == names.CONDITION]
    assert conditions[0].log_y


def test_a_dashboard_needs_an_account(monkeypatch):
    monkeypatch.setattr(type(wandb.api), "api_key", property(lambda self: None))
    with pytest.raises(SystemExit, match="wandb login"):
        dashboard.main(["--entity", "someone"])


def test_metric_names_are_free_of_torch():
    code = "import sys, lightning_modules.metric_names; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
