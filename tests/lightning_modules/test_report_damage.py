"""Reports over run directories that are damaged or were made to harm: each is left out by its name, the rest counts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from gcp.errors import DataError
from lightning_modules.report.files import MOST_BYTES
from lightning_modules.report.groups import rows_of
from lightning_modules.report.picture import comparison_figure
from lightning_modules.report.runs import read_runs
from lightning_modules.report.writing import write_report

SUMMARY = {
    "mode": "fit", "method": "pade", "backbone": "tiny", "dataset": "digits", "seed": 0, "status": "ok", "error": None,
    "test/acc1": 0.5, "test/loss": 1.0, "train_seconds": 2.0, "started": "2026-01-01T00:00:00+00:00",
}  # fmt: skip
CONFIG = {"mode": "fit", "seed": 0, "method": {"name": "pade"}, "data": {"name": "digits"}}
METRICS = b"epoch,step,val/acc1\n1,9,0.25\n2,19,0.5\n"
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12)
)


def run_directory(path: Path, **summary) -> Path:
    (path / ".hydra").mkdir(parents=True)
    (path / "summary.json").write_text(json.dumps({**SUMMARY, **summary}))
    (path / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "seed": summary.get("seed", 0)}))
    (path / ".hydra/overrides.yaml").write_text("- method=pade\n")
    (path / "metrics.csv").write_bytes(METRICS)
    return path


DAMAGES = {
    "half a summary": ("summary.json", b'{"method": "pade", "test/acc1": 0.9'),
    "a summary that is a list": ("summary.json", b"[1, 2]"),
    "a summary of zeros": ("summary.json", b"\0" * 100),
    "a summary in Latin-1": ("summary.json", '{"method": "padé"}'.encode("latin-1")),
    "a deep summary": ("summary.json", b"[" * 100_000),
    "a huge summary": ("summary.json", b" " * (MOST_BYTES + 1)),
    "an accuracy of NaN": ("summary.json", json.dumps({**SUMMARY, "test/acc1": float("nan")}).encode()),
    "an accuracy of 50": ("summary.json", json.dumps({**SUMMARY, "test/acc1": 50}).encode()),
    "an accuracy beyond floats": ("summary.json", json.dumps({**SUMMARY, "test/acc1": 10**400}).encode()),
    "an accuracy in words": ("summary.json", json.dumps({**SUMMARY, "test/acc1": "0.9"}).encode()),
    "a method that is a list": ("summary.json", json.dumps({**SUMMARY, "method": ["pade"]}).encode()),
    "a seed that is a mapping": ("summary.json", json.dumps({**SUMMARY, "seed": {}}).encode()),
    "bad YAML": ("config.yaml", b"method: [pade\n  x: {"),
    "a YAML bomb": ("config.yaml", BOMB.encode()),
    "YAML that runs code": ("config.yaml", b"!!python/object/apply:os.system ['touch hacked']"),
    "deep YAML": ("config.yaml", b"[" * 100_000),
    "a configuration that is a list": ("config.yaml", b"- 1"),
    "a binary configuration": ("config.yaml", bytes(range(256))),
    "a huge configuration": ("config.yaml", b"#" * (MOST_BYTES + 1)),
    "bad overrides": (".hydra/overrides.yaml", b"{a: b}"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_left_out_by_name(tmp_path, monkeypatch, capfd, damage):
    monkeypatch.chdir(tmp_path)
    run_directory(tmp_path / "runs/good")
    bad = run_directory(tmp_path / "runs/bad", seed=1)
    file, content = DAMAGES[damage]
    (bad / file).write_bytes(content)
    found = read_runs([tmp_path / "runs"])
    assert [run.directory.name for run in found.runs] == ["good"]
    assert [each.directory.name for each in found.skipped] == ["bad"]
    assert found.skipped[0].reason.startswith(f"damaged: {Path(file).name} ")
    assert not (tmp_path / "hacked").exists()


LINES = {  # what is appended to two good lines, and how many lines of it are said to be damaged
    "half a number": (b"3,29,0.7", 1),
    "half a line": (b"3,2", 1),
    "NUL bytes": (b"\0" * 64, 1),
    "Latin-1": (b"3,29,\xe9\n", 1),
    "too many cells": (b"3,29,0.7,9,9\n", 1),
    "a quotation mark": (b'"3,29,0.7\n3,29,0.75\n', 1),
    "no number": (b"3,29,nan\n3,29,much\n3,29,7\nx,29,0.5\n", 4),
    "an endless line": (b"3" * 200_000, 4),
}


@pytest.mark.parametrize("damage", LINES)
def test_damaged_lines_of_the_metrics_are_left_out_and_counted(tmp_path, damage):
    content, count = LINES[damage]
    directory = run_directory(tmp_path / "runs/one")
    (directory / "metrics.csv").write_bytes(METRICS + content)
    found = read_runs([tmp_path / "runs"])
    good = [(1, 0.25), (2, 0.5)] + [(3, 0.75)] * (damage == "a quotation mark")
    assert found.runs[0].curve == good
    line = "line" if count == 1 else "lines"
    assert [each.reason for each in found.damage] == [f"{count} damaged {line} of metrics.csv left out"]


@pytest.mark.parametrize("content", [bytes(range(256)) * 40, b"\x89PNG\r\n\x1a\n", b"", b"a,b\n1,2\n"])
def test_metrics_that_are_no_table(tmp_path, content):
    directory = run_directory(tmp_path / "runs/one")
    (directory / "metrics.csv").write_bytes(content)
    found = read_runs([tmp_path / "runs"])
    assert found.runs[0].curve == []
    assert [each.reason for each in found.damage] == ["metrics.csv is not a table of metrics"]


def test_a_summary_that_is_a_pipe_does_not_stop_the_report(tmp_path):
    run_directory(tmp_path / "runs/good")
    (tmp_path / "runs/bad").mkdir()
    os.mkfifo(tmp_path / "runs/bad/summary.json")
    assert [each.directory.name for each in read_runs([tmp_path / "runs"]).skipped] == ["bad"]


def test_all_of_it_together_ends_in_a_report_that_names_each(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "80")
    for position, (name, (file, content)) in enumerate(DAMAGES.items()):
        (run_directory(tmp_path / "runs" / f"{position}-{name}") / file).write_bytes(content)
    for seed in range(2):
        run_directory(tmp_path / f"runs/good{seed}", seed=seed)
    harmful = {"method": "[/red]\x1b[2J|a\nb", "error": "\x1b[31m[bold]", "status": "failed", "dataset": "$x_{"}
    run_directory(tmp_path / "runs/harmful", **{**harmful, "test/acc1": None})
    run_directory(tmp_path / "runs/report", mode="report")
    (tmp_path / "runs/report/config.yaml").unlink()
    run_directory(tmp_path / "runs/good0/stage1")
    rows = write_report(read_runs([tmp_path / "runs"]), tmp_path / "out")
    assert [len(row.runs) for row in rows] == [2, 1]
    text = (tmp_path / "out/sweep.md").read_text()
    for position, name in enumerate(DAMAGES):
        assert f"- `{position}-{name}`: damaged: " in text
    assert "- `report`: mode=report has no result to compare" in text
    assert "- `stage1`: the first stage of the run above it" in text
    out = capfd.readouterr().out
    assert "\x1b" not in out + text
    assert "and 3 more" not in out  # each damage is another one
    assert "note: report: mode=report" in out
    comparison_figure(rows_of(read_runs([tmp_path / "runs"]).runs)).savefig(tmp_path / "picture.png", dpi=40)


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path, monkeypatch):
    run_directory(tmp_path / "runs/good")
    run_directory(tmp_path / "runs/closed")
    whole = os.scandir

    def denied(path):  # tests may run as root, whom permissions do not stop
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", denied)
    found = read_runs([tmp_path / "runs"])
    assert [run.directory.name for run in found.runs] == ["good"]
    assert found.skipped == [(tmp_path / "runs/closed", "cannot be read (Permission denied)")]
    with pytest.raises(DataError, match=r"closed: cannot be read \(Permission denied\); mend that"):
        read_runs([tmp_path / "runs/closed"])


def test_nothing_but_damage_is_a_sentence(tmp_path):
    (run_directory(tmp_path / "runs/bad") / "summary.json").write_text("{")
    with pytest.raises(DataError, match=r"none of the 1 run directories .*bad: damaged: summary.json is not JSON"):
        read_runs([tmp_path / "runs"])
