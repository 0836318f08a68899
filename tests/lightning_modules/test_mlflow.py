"""MLflow, and several loggers at once, read back: the same metrics as metrics.csv, offline, never in the way."""

from __future__ import annotations

import csv
import math
import sqlite3
from collections import defaultdict
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conf.arguments import readable
from gcp.errors import OptionError
from lightning_modules.loggers import mlflow as ours
from lightning_modules.run.spec import Run
from lightning_modules.settings.loggers import LOGGERS, BesideOptions, MLflowOptions, chosen_loggers
from tests.conftest import ROOT
from tests.small import SMALL

STORE = "sqlite:///mlflow.db"
WATCHED = ("callbacks.spectrum_every_n_steps=1", "callbacks.confusion_matrix=true", "trainer.log_every_n_steps=1")


def in_csv(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) by name, in the order they were written."""
    found = defaultdict(list)
    for row in csv.DictReader((directory / "metrics.csv").open()):
        for name, value in row.items():
            if value and name not in ("step", "epoch"):
                found[name].append((int(row["step"]), float(value)))
    return dict(found)


def in_mlflow(client: MlflowClient, run_id: str) -> dict[str, list[tuple[int, float]]]:
    names = client.get_run(run_id).data.metrics
    histories = {name: client.get_metric_history(run_id, name) for name in names if name != "epoch"}
    return {name: sorted((each.step, each.value) for each in history) for name, history in histories.items()}


def in_tensorboard(directory: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(directory / "tensorboard"))
    events.Reload()
    names = [name for name in events.Tags()["scalars"] if name not in ("epoch", "hp_metric")]
    return {name: sorted((each.step, each.value) for each in events.Scalars(name)) for name in names}


def check_same(found, written, tolerance):
    assert found.keys() == written.keys()
    for name, points in written.items():
        assert [step for step, _ in found[name]] == [step for step, _ in sorted(points)], name
        assert all(
            math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-30) or (a != a and b != b)
            for (_, a), (_, b) in zip(found[name], sorted(points), strict=True)
        ), name


def runs_of(store: str = STORE, experiment: str = "gcp"):
    client = MlflowClient(store)
    return client, client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def test_mlflow_and_tensorboard_hold_what_metrics_csv_holds(cli):
    outcome = cli(*SMALL, *WATCHED, "logger=[tensorboard,mlflow]", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    client, (run,) = runs_of()
    written = in_csv(Path("run"))
    assert {"val/acc1", "test/acc1", "train/loss_step", "spectrum/condition", "lr-SGD/features"} <= written.keys()
    check_same(in_mlflow(client, run.info.run_id), written, 1e-12)  # both keep doubles
    check_same(in_tensorboard(Path("run")), written, 1e-6)  # keeps float32
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "pade-tiny-digits-s0"
    assert (run.data.tags["method"], run.data.tags["dataset"], run.data.tags["seed"]) == ("pade", "digits", "0")
    assert (run.data.params["method/name"], run.data.params["data/image_size"]) == ("pade", "16")
    assert [each.path for each in client.list_artifacts(run.info.run_id, "test")] == ["test/confusion_matrix.png"]
    assert Path("run/mlflow.id").read_text().strip() == run.info.run_id


@pytest.mark.slow
def test_a_resumed_run_is_one_run_and_failures_are_told(cli, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    few = [each for each in SMALL if "max_epochs" not in each]
    assert cli(*few, "trainer.max_epochs=1", "logger=mlflow", "hydra.run.dir=run").code == 0
    assert cli("ckpt_path=last", "trainer.max_epochs=2", "logger=mlflow", "hydra.run.dir=run").code == 0
    assert cli(*SMALL, "logger=mlflow", "optimizer.lr=1e30", "trainer.gradient_clip_val=null", "seed=1").code == 1
    _, found = runs_of(experiment="mine")
    assert sorted((run.data.tags["seed"], run.info.status) for run in found) == [("0", "FINISHED"), ("1", "FAILED")]
    client, _ = runs_of(experiment="mine")
    again = next(run for run in found if run.data.tags["seed"] == "0")
    assert len(in_mlflow(client, again.info.run_id)["val/acc1"]) == 2


@pytest.mark.slow
def test_a_server_that_is_not_there_is_a_sentence(cli):
    outcome = cli(*SMALL, "logger=mlflow", "logger.store=http://127.0.0.1:9")
    assert outcome.code == 1
    assert "MLflow's store http://127.0.0.1:9 does not take the run: " in outcome.err
    assert "mend logger.store" in outcome.err
    outcome = cli(*SMALL, "logger=mlflow", "logger.store=nonsense://x")
    assert "MLflow's store nonsense://x does not take the run: " in outcome.err


@pytest.mark.slow
def test_a_store_that_fails_later_stops_no_run(tmp_path, capfd):
    config = {name: {"name": name} for name in ("method", "backbone", "data")}
    run = Run(tmp_path / "run", {**config, "seed": 0, "mode": "fit", "ckpt_path": None})
    logger = ours.build(run, MLflowOptions(store=f"sqlite:///{tmp_path}/a.db"))
    ours.AT_END.remove(logger.close)
    logger.log_metrics({"val/acc1": 0.5}, 1)
    with sqlite3.connect(tmp_path / "a.db") as base:
        base.execute("DROP TABLE metrics")
    for _ in range(2):
        logger.log_metrics({"val/acc1": 0.5}, 2)
    said = capfd.readouterr().err
    assert said.count("MLflow takes no metrics (") == 1
    assert "metrics.csv has them all" in said


def test_several_loggers_are_one_with_others_beside_it():
    assert readable(["logger=[wandb, mlflow,csv]"]) == ["logger=wandb", "logger.beside.mlflow={}"]
    assert readable(["logger=[csv]"]) == readable(["logger=csv"]) == ["logger=csv"]
    assert readable(["logger=[csv,mlflow]"]) == ["logger=mlflow"]
    with pytest.raises(OptionError, match="mlfow"):
        readable(["logger=[wandb,mlfow]"])
    chosen = chosen_loggers({"name": "tensorboard", "beside": {"mlflow": {"experiment": "a"}, "tensorboard": {}}})
    assert list(chosen) == ["csv", "tensorboard", "mlflow"]
    assert chosen["mlflow"] == MLflowOptions(experiment="a")
    assert all(list(chosen_loggers({"name": name})) == list(dict.fromkeys(["csv", name])) for name in LOGGERS.names())


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"mlfow": {}}, r"beside: unknown logger 'mlfow' \(did you mean 'mlflow'\?\)"),
        ({"mlflow": {"stor": "x"}}, r"beside.mlflow: logger 'mlflow' has no option 'stor' \(did you mean"),
        ({"mlflow": 3}, "beside.mlflow: options are set one by one"),
        ({"wandb": {"timeout": -1}}, "beside.wandb: timeout must be greater than 0"),
    ],
)
def test_wrong_loggers_are_refused(beside, said):
    with pytest.raises(OptionError, match=said):
        BesideOptions(beside)


def test_they_are_refused_with_the_full_name(cli):
    outcome = cli("logger=[tensorboard,mlflow]", "logger.beside.mlflow.stor=x")
    assert outcome.code == 1
    assert "logger.beside.mlflow: logger 'mlflow' has no option 'stor'" in outcome.err


def test_the_extra_is_named_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(ours, "NEEDED", ("mlflow", "no_such_module"))
    with pytest.raises(ImportError, match=r"pip install '.\[mlflow\]'"):
        ours.build(Run(tmp_path, {}), MLflowOptions())
    assert "\nmlflow = [" in (ROOT / "pyproject.toml").read_text()
