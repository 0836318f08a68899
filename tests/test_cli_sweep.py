"""Sweeps: every job ends somehow, the report says how, and what is finished is not done again."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gcp.methods import list_methods
from lightning_modules.run.interruption import Interrupted
from lightning_modules.run.summary import Summary
from lightning_modules.run.sweep import Job, launch
from tests.conftest import ROOT
from tests.small import SMALL
from tests.test_cli_run_directories import held

SEVEN = ["pade", "taylor", "pi", "newton", "trunc", "topn", "original"]
FEW = [argument for argument in SMALL if "max_epochs" not in argument]


def table(directory: Path) -> dict[str, dict[str, str]]:
    with (directory / "sweep.csv").open() as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def jobs(directory: Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in directory.glob("*/summary.json")}


def test_the_seven_methods_end_in_a_table_and_a_picture(cli, tmp_path):
    outcome = cli("sweep=methods", "trainer.max_epochs=2", *FEW, "hydra.sweep.dir=sweep")
    assert outcome.code == 0, outcome.err
    rows = table(tmp_path / "sweep")
    assert list(rows) == SEVEN
    for row in rows.values():
        assert (row["runs"], row["failed"]) == ("1", "0")
        assert 0 <= float(row["test/acc1_mean"]) <= 1
    text = (tmp_path / "sweep/sweep.md").read_text()
    assert all(f"| {method} |" in text for method in SEVEN)
    assert "Fewer than two seeds" in text
    assert (tmp_path / "sweep/sweep.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "sweep/sweep.png").stat().st_size > 20_000


BROKEN = """
import gcp
from gcp.methods import SpectralOptions
def broken(spectrum, options):
    raise RuntimeError("broken on purpose")
gcp.register_method("broken", options=SpectralOptions, kernel=broken)
"""


@pytest.mark.slow
def test_one_method_fails_and_the_others_finish(cli, tmp_path):
    (tmp_path / "my_broken.py").write_text(BROKEN)
    outcome = cli("-m", "plugins=[my_broken]", "method=pade,broken,newton", *SMALL, "hydra.sweep.dir=sweep")
    assert outcome.code == 1
    assert outcome.err.count("failed: ") == 1
    assert "failed: 1-broken-tiny-digits-s0: broken on purpose" in outcome.err
    assert "1 of 3 jobs failed" in outcome.err
    assert "Traceback" not in outcome.err
    rows = table(tmp_path / "sweep")
    assert [rows[name]["failed"] for name in ("pade", "broken", "newton")] == ["0", "1", "0"]
    assert rows["broken"]["test/acc1_mean"] == ""
    assert "- `1-broken-tiny-digits-s0`: broken on purpose" in (tmp_path / "sweep/sweep.md").read_text()
    assert "in broken" in (tmp_path / "sweep/1-broken-tiny-digits-s0/error.txt").read_text()


def test_what_is_wrong_with_a_job_is_found_before_the_first_one_trains(cli, tmp_path):
    outcome = cli("-m", "method=taylor,pade,padee", "method.degree=6,7", *SMALL, "hydra.sweep.dir=sweep")
    assert outcome.code == 1
    assert "unknown option method.degree" in outcome.err
    assert "unknown method 'padee' (did you mean 'pade'?)" in outcome.err
    assert "4 of 6 jobs are wrong, so none was started: method=pade method.degree=6: unknown option" in outcome.err
    assert outcome.err.count("unknown option method.degree") == 1  # and the other degree likewise
    assert "method=range(1,3) is a range, and names have none; write method=a,b,c" in cli("-m", "method=range(1,3)").err
    outcome = cli("-m", "optimizer.lr=0.1,-1", *SMALL, "hydra.sweep.dir=sweep")  # a range, not a name
    assert "optimizer.lr=-1: optimizer.lr must be greater than 0" in outcome.err
    assert not (tmp_path / "sweep").exists()


def test_a_loss_that_is_not_finite_is_one_failure(cli, tmp_path):
    arguments = ["optimizer.lr=0.01,1e30", *SMALL, "trainer.gradient_clip_val=null", "hydra.sweep.dir=sweep"]
    outcome = cli("-m", *arguments)
    assert outcome.code == 1
    summaries = [summary for _, summary in sorted(jobs(tmp_path / "sweep").items())]
    assert [summary["status"] for summary in summaries] == ["ok", "failed"]
    assert "training diverged" in summaries[1]["error"]
    assert "optimizer.lr=1e30" in (tmp_path / "sweep/sweep.md").read_text().replace("1e+30", "1e30")


@pytest.mark.slow
def test_again_only_what_is_missing(cli, tmp_path):
    arguments = ["-m", "method=pade", "seed=0,1", *SMALL, "hydra.sweep.dir=sweep"]
    assert cli(*arguments).code == 0
    before = jobs(tmp_path / "sweep")
    spoilt = sorted(before)[1]
    (tmp_path / "sweep" / spoilt / "summary.json").write_text(json.dumps({**before[spoilt], "status": "running"}))
    time.sleep(1.1)  # the times in summaries are whole seconds
    outcome = cli(*arguments, "sweep.resume=true", "callbacks.progress_bar=false")
    assert outcome.code == 0, outcome.err
    after = jobs(tmp_path / "sweep")
    assert set(after) == set(before)
    assert {name for name in after if after[name]["started"] != before[name]["started"]} == {spoilt}
    wider = cli(*arguments[:2], "seed=0,1,2", *SMALL, "hydra.sweep.dir=sweep", "sweep.resume=true")
    assert wider.code == 0, wider.err
    assert len(jobs(tmp_path / "sweep")) == 3
    assert {row["runs"] for row in table(tmp_path / "sweep").values()} == {"3"}


def test_jobs_that_end_with_an_interrupted_sweep_say_so(tmp_path):
    """As joblib ends those at work: their processes are gone before they can write a word."""
    for name in ("ended", "held"):
        Summary(tmp_path / name, mode="fit").begin()

    def start(arguments):
        raise Interrupted(signal.SIGTERM)

    with held(tmp_path / "held"), pytest.raises(Interrupted):
        launch([Job([], "ended"), Job([], "held"), Job([], "waiting")], tmp_path, start)
    found = {name: (each["status"], each["error"]) for name, each in jobs(tmp_path).items()}
    assert found == {
        "ended": ("interrupted", "interrupted with the sweep; goes on when that is resumed"),
        "held": ("running", None),
    }


@pytest.mark.slow
def test_killed_half_way_and_run_again(cli, tmp_path):
    arguments = ["-m", "method=pade,newton,taylor", *SMALL, "hydra.sweep.dir=sweep"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, str(ROOT / "run.py"), *arguments], cwd=tmp_path, env=environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + 120
    while len(jobs(tmp_path / "sweep")) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = jobs(tmp_path / "sweep")
    assert before["0-pade-tiny-digits-s0"]["status"] == "ok"
    assert len(before) == 2
    time.sleep(1.1)
    outcome = cli(*arguments, "sweep.resume=true")
    assert outcome.code == 0, outcome.err
    after = jobs(tmp_path / "sweep")
    assert {summary["status"] for summary in after.values()} == {"ok"}
    assert after["0-pade-tiny-digits-s0"] == before["0-pade-tiny-digits-s0"]
    assert list(table(tmp_path / "sweep")) == ["pade", "newton", "taylor"]


@pytest.mark.slow
def test_all_methods_are_all_and_finish(cli, tmp_path):
    outcome = cli("sweep=all_methods", *SMALL, "hydra.sweep.dir=sweep")
    assert outcome.code == 0, outcome.err
    finished = {summary["method"]: summary["status"] for summary in jobs(tmp_path / "sweep").values()}
    assert finished == dict.fromkeys(list_methods(), "ok")
    assert set(table(tmp_path / "sweep")) == set(list_methods())


@pytest.mark.slow
def test_a_report_on_any_collection_of_runs(cli, tmp_path):
    for method, seed in (("pade", 0), ("pade", 1), ("newton", 0), ("newton", 1)):
        assert cli(f"method={method}", f"seed={seed}", *SMALL, f"hydra.run.dir=runs/{method}{seed}").code == 0
    outcome = cli("mode=report", "path=runs", "hydra.run.dir=report")
    assert outcome.code == 0, outcome.err
    assert {name: row["runs"] for name, row in table(tmp_path / "report").items()} == {"pade": "2", "newton": "2"}
    assert "over 2 seeds" in (tmp_path / "report/sweep.md").read_text()
    assert "pade" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "mode=report needs path"),
        (["path=nowhere"], "there is no folder nowhere"),
        (["path=empty"], "no summary.json in empty or below"),
    ],
)
def test_a_report_on_nothing(cli, tmp_path, arguments, sentence):
    (tmp_path / "empty").mkdir()
    outcome = cli("mode=report", *arguments)
    assert outcome.code == 1
    assert sentence in outcome.err
