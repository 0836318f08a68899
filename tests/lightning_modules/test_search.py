"""A search: its space from arguments and options, trials that are neither lost nor repeated, pruning, its report."""

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
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from conf.search_space import corners, space_of
from gcp.errors import DataError, OptionError
from lightning_modules.run.directory import TakenError
from lightning_modules.run.spec import Run
from lightning_modules.search.journal import FILE, open_study
from lightning_modules.search.page import importances, parts, write_trials
from lightning_modules.search.trials import Search
from lightning_modules.settings.search import SearchOptions
from tests.conftest import ROOT
from tests.small import SMALL

SEARCH = (
    "-m", "sweep=search", "threads=1", "search.startup=4", "search.warmup=1",
    *(each for each in SMALL if not each.startswith("trainer.max_epochs")), "trainer.max_epochs=2",
)  # fmt: skip


LR_ALONE = ("-m", "sweep=search", "optimizer.weight_decay=0.1", "training.label_smoothing=0")


def test_a_trial_is_named_after_its_number():
    """Loggers list trials by name."""
    named = {"method": {"name": "pade"}, "backbone": {"name": "tiny"}, "data": {"name": "digits"}, "seed": 0}
    assert Run(Path("3-pade-tiny-digits-s0"), {**named, "search": {"trial": 3}}).name == "pade-tiny-digits-s0-trial3"
    assert Run(Path("3-pade-tiny-digits-s0"), {**named, "search": {"trial": None}}).name == "pade-tiny-digits-s0"


def rows_of(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def trials_of(directory):
    return rows_of(directory / "search.csv")


def space(*arguments):
    return space_of(OverridesParser.create().parse_overrides(list(arguments)))


def test_ranges_are_of_the_type_of_their_option():
    fixed, found = space(
        "optimizer.lr=tag(log, interval(0.01, 1))", "training.label_smoothing=interval(0, 0.2)",
        "data.batch_size=interval(8, 64)", "schedule.gamma=0.1", "trainer.max_epochs=range(2, 5)",
        "method=pade,taylor", "optimizer.nesterov=true,false", "optimizer.lr=tag(log, interval(0.1, 0.5))",
    )  # fmt: skip
    assert fixed == ["schedule.gamma=0.1"]
    assert found == {
        "optimizer.lr": FloatDistribution(0.1, 0.5, log=True),
        "training.label_smoothing": FloatDistribution(0, 0.2),
        "data.batch_size": IntDistribution(8, 64),
        "trainer.max_epochs": IntDistribution(2, 4),
        "method": CategoricalDistribution(["pade", "taylor"]),
        "optimizer.nesterov": CategoricalDistribution(["True", "False"]),
    }
    tried = [" ".join(each) for each in corners(found)]
    assert len(tried) == 7
    for end in ("optimizer.lr=0.1", "optimizer.lr=0.5", "data.batch_size=64", "method=taylor"):
        assert any(end in each.split() for each in tried)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("seed=0,1", "seed is no hyper-parameter"),
        ("optimizer.lr=0.1", "a search needs something to search"),
        ("optimizer.lr=interval(1, 0.1)", "is empty"),
        ("optimizer.lr=tag(log, interval(0, 0.1))", "has to begin above 0"),
        ("optimizer.lr=tag(lg, interval(0.1, 1))", "the tag lg is unknown"),
        ("method=tag(log, choice(pade,taylor))", "choices have no log"),
        ("backbone=interval(1, 2)", "is no range|is no number"),
        ("optimizer.nesterov=interval(0, 1)", "is no number"),
        ("data.batch_size=range(8, 64, 8)", "range\\(a,b\\)"),
    ],
)
def test_what_is_no_space_is_refused(argument, said):
    if argument.startswith("backbone"):
        argument = "switch.to=interval(1, 2)"
    with pytest.raises(OptionError, match=said):
        space(argument)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*LR_ALONE, "optimizer.lr=interval(-1,1)"], "optimizer.lr must be greater than 0, got -1"),
        (["search.trials=3"], "search.trials=3 is for sweeps"),
    ],
)
def test_ranges_beyond_the_options_are_refused_before_anything_runs(cli, tmp_path, arguments, said):
    outcome = cli(*arguments)
    assert outcome.code == 1
    assert said in outcome.err
    assert not list(tmp_path.glob("multirun/*/*/*"))


def made(directory, trials=6, resume=False, asked=("method=pade",), **options):
    directory.mkdir(exist_ok=True)
    values = {"startup": 2, "metric": "val/acc1", **options}
    found = {"a": FloatDistribution(0, 1), "b": CategoricalDistribution(["x", "y"])}
    return Search(directory, SearchOptions(trials=trials, **values), found, list(asked), 0, resume)


def play(search, trial, **summary):
    """A run of the trial, without training: what it would have reported and written."""
    import optuna

    study = open_study(search.file)
    running = optuna.trial.Trial(study, study.get_trials()[trial.number]._trial_id)
    value = 1 - (float(trial.values["a"]) - 0.3) ** 2
    for epoch, share in enumerate((0.5, 1.0, 0.9), 1):
        running.report(share * value, epoch)
    place = search.directory / str(trial.number)
    place.mkdir()
    (place / "summary.json").write_text(json.dumps({"status": "ok", **summary}))
    search.record(trial, place)


def test_no_trial_is_lost_or_repeated(tmp_path):
    """A search that is let go of in the middle of a trial comes to the same trials as one that is not."""
    whole = made(tmp_path / "whole")
    while trial := whole.take():
        play(whole, trial)
    first = made(tmp_path / "two")
    for _ in range(3):
        play(first, first.take())
    left = first.take()
    first.release()
    with (tmp_path / "two" / FILE).open("ab") as file:
        file.write(b'{"op_code": 4, "worker')  # killed as it wrote
    with pytest.raises(TakenError, match=r"holds a search with 4 trials; go on with it by sweep.resume=true"):
        made(tmp_path / "two")
    second = made(tmp_path / "two", resume=True)
    again = second.take()
    assert again == left
    play(second, again)
    while trial := second.take():
        play(second, trial)
    assert [each.params for each in second.finished()] == [each.params for each in whole.finished()]
    assert [each.value for each in second.finished()] == [each.value for each in whole.finished()]
    assert len({str(each.params) for each in whole.finished()}) == 6
    more = made(tmp_path / "two", trials=7, resume=True)
    assert more.take().number == 6
    more.release()
    with pytest.raises(DataError, match=r"was for something else \(asked: "):
        made(tmp_path / "two", resume=True, asked=["method=taylor"])


def test_a_trial_has_all_its_values_as_soon_as_it_is_there(tmp_path):
    """Killed at any byte of the journal: the trials in what is left have every value, or are not there."""
    search = made(tmp_path / "whole", trials=3)
    while search.take():
        pass
    search.release()
    lines = search.file.read_bytes().splitlines(keepends=True)
    for kept, line in enumerate(lines):
        (tmp_path / str(kept)).mkdir()
        (tmp_path / str(kept) / FILE).write_bytes(b"".join(lines[:kept]) + line[: len(line) // 2])
        again = made(tmp_path / str(kept), trials=3, resume=True)
        assert all(each.params.keys() == {"a", "b"} for each in again.study.get_trials())
    assert len(again.study.get_trials()) == 2


def test_what_became_of_a_trial_is_told_and_shown(tmp_path):
    search = made(tmp_path / "search", trials=7)
    endings = [{}, {"search/pruned_epoch": 3}, {"status": "failed"}, {}, {}, {}]
    for ending in endings:
        play(search, search.take(), **ending)
    search.release()
    assert [each.state.name for each in search.finished()] == ["COMPLETE", "PRUNED", "FAIL", *["COMPLETE"] * 3]
    assert search.finished()[0].value == max(search.finished()[0].intermediate_values.values())
    assert set(importances(search.study)) == {"a", "b"}
    page = "".join(parts(search.study, "val/acc1"))
    assert page.count("<img") == 4
    assert "importance of the options" in page
    write_trials(search.study, "val/acc1", tmp_path / "search.csv")
    rows = rows_of(tmp_path / "search.csv")
    assert [row["state"] for row in rows] == ["complete", "pruned", "fail", "complete", "complete", "complete"]
    assert rows[0].keys() == {"trial", "state", "val/acc1", "epochs", "a", "b"}


def test_a_damaged_journal_is_refused(tmp_path):
    (tmp_path / FILE).write_bytes(b"no journal\nat all\n")
    with pytest.raises(DataError, match="holds no search that can be read"):
        made(tmp_path)


@pytest.mark.slow
def test_a_search_of_two_trials(cli, tmp_path, summary_of):
    few = [each for each in SEARCH if not each.startswith("trainer.max_epochs")] + ["trainer.max_epochs=1"]
    outcome = cli(*few, "search.trials=2", "method=pade", "hydra.sweep.dir=found", "search.metric=val/loss")
    assert outcome.code == 0, outcome.err
    assert "best trial" in outcome.out
    rows = trials_of(Path("found"))
    assert [row["state"] for row in rows] == ["complete", "complete"]
    for row in rows:
        (directory,) = Path("found").glob(f"{row['trial']}-*")
        metrics = rows_of(directory / "metrics.csv")
        assert float(row["val/loss"]) == min(float(each["val/loss"]) for each in metrics if each["val/loss"])
        assert f"optimizer.lr={row['optimizer.lr']}" in (directory / ".hydra/overrides.yaml").read_text()
    again = cli(*few, "search.trials=2", "method=pade", "hydra.sweep.dir=found", "search.metric=val/loss")
    assert again.code == 1
    assert "holds a search with 2 trials" in again.err


def command(directory, trials=20):
    return [sys.executable, str(ROOT / "run.py"), *SEARCH, f"search.trials={trials}", f"hydra.sweep.dir={directory}"]


def ended(directory):
    return sum(json.loads(file.read_text())["status"] == "ok" for file in directory.glob("*/summary.json"))


@pytest.mark.slow
def test_a_search_that_is_killed_twice_comes_to_the_trials_of_one_that_is_not(tmp_path):
    """Values and results, trial by trial: what the sampler draws depends on those before it alone."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for kill_after in (3, 11):
        process = subprocess.Popen(
            [*command(tmp_path / "killed"), "sweep.resume=true"], env=environment, stdout=subprocess.DEVNULL
        )
        while ended(tmp_path / "killed") < kill_after:
            assert process.poll() is None
            time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    for directory in ("killed", "whole"):
        done = subprocess.run(
            [*command(tmp_path / directory), "sweep.resume=true"], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    killed, whole = trials_of(tmp_path / "killed"), trials_of(tmp_path / "whole")
    assert [row["trial"] for row in killed] == [str(number) for number in range(20)]
    assert killed == whole
    assert len({row["optimizer.lr"] for row in killed}) == 20
    assert {row["state"] for row in killed} == {"complete", "pruned"}
    assert len(list((tmp_path / "killed").glob("*-pade-*"))) == 20
    pruned = next(row for row in killed if row["state"] == "pruned")
    (directory,) = (tmp_path / "killed").glob(f"{pruned['trial']}-*")
    assert json.loads((directory / "summary.json").read_text())["search/pruned_epoch"] == 1


@pytest.mark.slow
def test_two_processes_share_a_search(tmp_path):
    processes = [
        subprocess.Popen(
            [*command(tmp_path / "shared", 8), "sweep.resume=true"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for _ in range(2)
    ]  # fmt: skip
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    done = [
        {line.rsplit("/", 1)[1] for line in output.splitlines() if line.startswith("run directory")}
        for output in outputs
    ]
    assert not done[0] & done[1]
    assert len(done[0] | done[1]) == 8
    assert all(done)  # neither stood by
    assert sorted(row["state"] in ("complete", "pruned") for row in trials_of(tmp_path / "shared")) == [True] * 8
