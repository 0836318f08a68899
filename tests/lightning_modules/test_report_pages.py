"""run.png and report.html: what is in them, over runs that are whole, damaged, failed or made to harm."""

from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from gcp.errors import DataError
from lightning_modules.report.confusion import read_confusion
from lightning_modules.report.page import address
from lightning_modules.report.run_page import write_run_report
from lightning_modules.report.runs import read_run, read_runs
from lightning_modules.report.series import read_series
from lightning_modules.report.training_figure import panels, training_figure
from lightning_modules.report.writing import write_report
from tests.browser import CHROMIUM, Browser
from tests.lightning_modules.test_report_damage import DAMAGES, run_directory
from tests.small import SMALL

EVIL = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>"
COLUMNS = (
    "epoch,step,lr-SGD/features,lr-SGD/classifier,spectrum/condition,train/acc1,train/loss_epoch,train/loss_step,"
    "val/acc1,val/loss"
)
LOGGED = f"""{COLUMNS}
,0,0.1,0.1,,,,,,
1,3,,,,,,2.0,,
,4,,,100.0,,,,,
1,9,,,,,,,0.25,1.5
1,9,,,,0.2,1.8,,,
,10,0.01,0.1,,,,,,
2,19,,,,,,,0.5,nan
2,19,,,,0.6,1.0,,,
2,20,,,,,,,,0.
"""
COUNTS = "true class,cat,dog\ncat,3,1\ndog,0,4\n"


class Page(HTMLParser):
    """The addresses, the scripts, the text and the tables of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.texts: list[str] = []
        self.policy = ""
        self.script = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]

    def handle_data(self, data):
        if self.tags[-1:] == ["script"] and not self.script:
            self.script = data
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def check_harmless(page: Page) -> None:
    """Nothing of a file became markup, and nothing is asked of a network."""
    assert page.tags.count("script") == 1
    assert not page.handlers
    assert all(each.startswith(("data:", "./")) for each in page.addresses)
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert page.policy == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )


@pytest.fixture
def logged(tmp_path):
    known = {"best/epoch": 2, "val/acc1": 0.5, "ended": "2026-01-01T00:01:30+00:00"}
    directory = run_directory(tmp_path / "runs/0-pade", **known)
    (directory / "metrics.csv").write_text(LOGGED)
    (directory / "confusion_matrix.csv").write_text(COUNTS)
    return directory


def test_series_are_over_epochs_without_what_is_no_number(logged):
    series = read_series(logged / "metrics.csv")
    assert series.unit == "epoch"
    assert series.points["val/acc1"] == [(1.0, 0.25), (2.0, 0.5)]
    assert series.points["val/loss"] == [(1.0, 1.5), (2.1, 0.0)]
    assert series.points["train/loss_step"] == [(0.4, 2.0)]
    assert series.learning_rates == {
        "SGD/classifier": [(0.1, 0.1), (1.1, 0.1)],
        "SGD/features": [(0.1, 0.1), (1.1, 0.01)],
    }
    assert series.end == pytest.approx(2.1)


def test_the_picture_has_a_plot_for_each_thing_that_was_logged(logged):
    record = read_run(logged)
    drawn = panels(read_series(logged / "metrics.csv"), record.summary)
    assert [each.name for each in drawn] == [
        "loss", "accuracy", "learning rate", "condition number of the covariances",
    ]  # fmt: skip
    figure = training_figure(drawn, "title")
    loss, accuracy, rate, condition = figure.axes
    assert [line.get_label() for line in loss.lines] == ["training, batches", "training", "validation"]
    assert accuracy.lines[-1].get_xydata().tolist() == [[2, 0.5]]  # test/acc1 at the best epoch
    assert len(rate.lines) == 2
    assert condition.get_yscale() == "log"
    assert training_figure(panels(read_series(logged / "metrics.csv")._replace(points={}), {}), "nothing").axes == []


def test_a_run_leaves_a_picture_a_page_and_print(logged):
    write_run_report(read_run(logged), ["png", "html", "pdf"])
    with Image.open(logged / "run.png") as picture:
        assert picture.width > 1000
    assert (logged / "run.pdf").read_bytes().startswith(b"%PDF")
    page = Page(logged / "report.html")
    check_harmless(page)
    assert page.tags.count("img") == 5
    for text in ("pade · tiny · digits · seed 0", "50.00%", "1:30", "method.name pade", "dog (1)"):
        assert text in page.text
    linked = {unquote(each.removeprefix("./")) for each in page.addresses if each.startswith("./")}
    assert linked == {"metrics.csv", "summary.json", "config.yaml", ".hydra/overrides.yaml", "run.png", "run.pdf"}


def test_a_page_says_what_it_could_not_use(logged):
    with (logged / "metrics.csv").open("a") as file:
        file.write("3,")
    (logged / "confusion_matrix.csv").write_text("true class,cat\ncat,1,2\n")
    write_run_report(read_run(logged), ["html"])
    text = Page(logged / "report.html").text
    assert "1 damaged line of metrics.csv left out" in text
    assert "confusion_matrix.csv is no confusion matrix" in text


NO_MATRIX = ("", "a", "x,a\na,-1\n", "x,a\na,1e9\n", "x,a,b\na,1\n", "x,a\na," + "9" * 30 + "\n", "x,a\na,9999999999\n")


@pytest.mark.parametrize("content", NO_MATRIX)
def test_a_damaged_confusion_matrix_is_none(tmp_path, content):
    (tmp_path / "confusion_matrix.csv").write_text(content)
    with pytest.raises(DataError, match="is no confusion matrix"):
        read_confusion(tmp_path / "confusion_matrix.csv")


def test_texts_that_were_made_to_harm_stay_texts(tmp_path):
    evil = run_directory(
        tmp_path / "runs" / "javascript:alert(1)", method=EVIL, dataset=EVIL, backbone=EVIL, error=EVIL, status=EVIL
    )
    (evil / "config.yaml").write_text(json.dumps({"method": {"name": EVIL, EVIL: EVIL}, "data": {"name": EVIL}}))
    (evil / "metrics.csv").write_text(LOGGED.replace("lr-SGD/features", "lr-<script>$x$"))
    (evil / "confusion_matrix.csv").write_text(COUNTS.replace("cat", EVIL.replace('"', "").replace(",", "")))
    run_directory(tmp_path / "runs" / EVIL.replace("/", ""), seed=1)
    write_run_report(read_run(evil), ["html"])
    write_report(read_runs([tmp_path / "runs"]), tmp_path / "out", ["html"])
    for file in (evil / "report.html", tmp_path / "out/report.html"):
        page = Page(file)
        check_harmless(page)
        assert "<script>alert(2)</script>" in page.text


def test_addresses_lead_where_they_should(tmp_path):
    target = tmp_path / "a b" / "javascript:x?#%.html"
    found = address(target, tmp_path / "page")
    assert found.startswith("./..")
    assert (tmp_path / "page" / unquote(found)).resolve() == target


def test_a_comparison_shows_rows_runs_and_what_is_left_out(tmp_path):
    for position, (name, (file, content)) in enumerate(DAMAGES.items()):
        (run_directory(tmp_path / "runs" / f"{position}-{name}") / file).write_bytes(content)
    for seed, accuracy in enumerate((0.5, 0.75)):
        directory = run_directory(tmp_path / f"runs/good{seed}", seed=seed, **{"test/acc1": accuracy})
        (directory / "confusion_matrix.csv").write_text(COUNTS)
    write_run_report(read_run(tmp_path / "runs/good1"), ["html"])
    write_report(read_runs([tmp_path / "runs"]), tmp_path / "out", ["html", "pdf"])
    assert (tmp_path / "out/sweep.pdf").read_bytes().startswith(b"%PDF")
    page = Page(tmp_path / "out/report.html")
    check_harmless(page)
    for position, name in enumerate(DAMAGES):
        assert f"{position}-{name}: damaged: " in page.text
    assert "62.50%" in page.text
    assert "Mistakes of the best run, pade · tiny · digits · seed 1" in page.text
    assert {"./../runs/good0", "./../runs/good1/report.html", "./sweep.csv"} <= set(page.addresses)


ALL = [each for each in SMALL if not each.startswith("report.")]


def test_every_run_ends_with_them(cli):
    assert cli(*ALL, "hydra.run.dir=run").code == 0
    assert {"run.png", "report.html", "confusion_matrix.csv"} <= {each.name for each in Path("run").iterdir()}
    check_harmless(page := Page(Path("run/report.html")))
    assert page.tags.count("img") == 5


def test_a_run_that_failed_says_why(cli):
    assert cli(*ALL, "hydra.run.dir=bad", "optimizer.lr=1e30", "trainer.gradient_clip_val=null").code == 1
    text = Page(Path("bad/report.html")).text
    assert "failed: " in text
    assert json.loads(Path("bad/summary.json").read_text())["error"][:40] in text
    assert Path("bad/run.png").exists()


def test_a_picture_that_cannot_be_written_fails_no_run(tmp_path, capfd):
    from lightning_modules.modes.run_report import reported_at_the_end
    from lightning_modules.run.spec import Run
    from lightning_modules.run.summary import Summary

    directory = run_directory(tmp_path / "run")
    (directory / "run.png").mkdir()
    summary = Summary(directory)
    summary.begin()
    with reported_at_the_end(Run(directory, {"report": {"formats": ["png", "html"]}}), summary):
        pass
    assert "note: no pictures of the run (IsADirectoryError: " in capfd.readouterr().err


def test_formats_are_known_ones(cli):
    outcome = cli("report.formats=[png,htlm]")
    assert outcome.code == 1
    assert "report.formats has no 'htlm' (did you mean 'html'?); there are: png, html, pdf" in outcome.err


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
def test_in_a_browser(logged, tmp_path):
    """No complaint, no request beyond the file, nothing wider than the window, and tables that sort."""
    for seed, accuracy in enumerate((0.75, 0.125, 0.5), 1):
        run_directory(tmp_path / f"runs/{seed}-taylor", method="taylor", seed=seed, **{"test/acc1": accuracy})
    write_run_report(read_run(logged), ["html"])
    write_report(read_runs([tmp_path / "runs"]), tmp_path / "out", ["html"])
    runs = "[...document.querySelectorAll('table')].find(each => each.tHead.textContent.startsWith('run'))"
    heads = f"[...{runs}.querySelectorAll('th')].map(each => each.textContent)"
    with Browser() as browser:
        for file in (logged / "report.html", tmp_path / "out/report.html"):
            for width in (400, 1400):
                browser.open(file, width)
                assert browser.evaluate("document.documentElement.scrollWidth") == width
                assert browser.evaluate("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
            if file.parent.name == "out":
                column = browser.evaluate(heads).index("test acc")
                shown = f"[...{runs}.tBodies[0].rows].map(row => row.cells[{column}].textContent)"
                orders = []
                for _ in range(2):
                    browser.evaluate(f"{runs}.querySelectorAll('th button')[{column}].click()")
                    orders.append(browser.evaluate(shown))
                assert orders == [["75.00%", "50.00%", "50.00%", "12.50%"], ["12.50%", "50.00%", "50.00%", "75.00%"]]
        assert {each for each in browser.requests if not each.startswith("data:")} == {
            (logged / "report.html").as_uri(), (tmp_path / "out/report.html").as_uri(),
        }  # fmt: skip
        assert browser.complaints == []
