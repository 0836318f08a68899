"""Full disks, folders without permission: one sentence with the path, nothing half written, a summary that says so."""

from __future__ import annotations

import errno
import io
import os
import resource
from pathlib import Path

import pytest

from lightning_modules.loggers.csv import DAMAGED, _ContinuingWriter
from lightning_modules.metrics_file import read_rows
from lightning_modules.run.storage import StorageError, storage_error, write_csv, write_whole
from tests.small import SMALL


def test_a_full_disk(cli, tmp_path, monkeypatch, summary_of):
    """The first checkpoint is written, the second finds no room: the real error is told, not that a file is missing."""
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) > 3:  # best.ckpt, its folder, last.ckpt
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    outcome = cli(*SMALL, "trainer.max_epochs=3", "hydra.run.dir=run")
    assert outcome.code == 1
    message = f"cannot use {tmp_path}/run/checkpoints/"
    assert f"error: {message}" in outcome.err
    assert "the disk is full; free some space" in outcome.err
    assert outcome.err.count("error:") == 1
    assert "Traceback" not in outcome.err + outcome.out
    summary = summary_of(tmp_path / "run")
    assert summary["status"] == "failed"
    assert message in summary["error"]
    assert not list(tmp_path.rglob("*.partial"))
    assert "val/acc1" in (tmp_path / "run/metrics.csv").read_text()  # what was written stays


def test_no_checkpoint_at_all(cli, tmp_path, summary_of):
    """A limit on the size of files, which a summary keeps and a checkpoint does not: no talk of a missing file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        outcome = cli(*SMALL, "hydra.run.dir=run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert outcome.code == 1
    assert f"error: cannot use {tmp_path}/run/checkpoints/best.ckpt: the file would be larger" in outcome.err
    assert "no checkpoint" not in outcome.err
    assert summary_of(tmp_path / "run")["status"] == "failed"
    assert list((tmp_path / "run/checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hydra.run.dir=file",), "cannot use file: a file is in place of a folder"),
        (("hydra.run.dir=file/run",), "cannot use file/run: a file is in place of a folder"),
        (("-m", "seed=0,1", "hydra.sweep.dir=file"), "file: a file is in place of a folder"),
        (("hydra.run.dir=/proc/run",), "cannot use /proc/run: "),
        (("hydra.run.dir=" + 300 * "x",), "xxx: the name is too long"),
    ],
)
def test_places_that_cannot_be(cli, tmp_path, arguments, message):
    (tmp_path / "file").write_text("mine")
    outcome = cli(*arguments, *SMALL)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("error:") == 1
    assert "Traceback" not in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_a_folder_in_place_of_a_file(cli, tmp_path, summary_of):
    (tmp_path / "run/config.yaml").mkdir(parents=True)
    outcome = cli(*SMALL, "hydra.run.dir=run")
    assert outcome.code == 1
    assert "run/config.yaml: a folder is in place of a file" in outcome.err
    assert "Traceback" not in outcome.err
    assert summary_of(tmp_path / "run")["status"] == "failed"


def test_the_sentence_of_an_error():
    full = OSError(errno.ENOSPC, "No space left on device", "somewhere/file")
    assert "somewhere/file: the disk is full" in str(storage_error(full))
    later = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 768 vs 662")
    later.__context__ = full  # as torch.save ends
    assert "somewhere/file: the disk is full" in str(storage_error(later))
    shared = RuntimeError("unable to write to file </torch_5_1_0>: No space left on device (28)")
    assert "/dev/shm is full" in str(storage_error(shared, Path("run")))
    assert storage_error(ValueError("no")) is None


def test_a_summary_fits_into_its_own_room_on_a_full_disk(tmp_path, monkeypatch):
    file = tmp_path / "summary.json"
    file.write_text("something longer")
    write = Path.write_text

    def full(self, text):
        if self.suffix == ".partial":
            write(self, text[:2])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        write(self, text)

    monkeypatch.setattr(Path, "write_text", full)
    write_whole(file, "short")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("summary.json", "short")]


HEADER = b"epoch,step,val/acc1\r\n"
ROWS = [b"0,1,0.25\r\n", b"1,3,0.5\r\n", b"2,5,0.75\r\n"]


@pytest.mark.parametrize(
    ("rows", "kept", "damaged"),
    [
        (ROWS, [0, 1, 2], []),
        ([*ROWS[:2], b"2,5,0.7"], [0, 1], [4]),  # of 0.75
        ([*ROWS[:2], b"2,5"], [0, 1], [4]),
        ([*ROWS[:2], b"2,5\r\n"], [0, 1], [4]),
        ([*ROWS[:2], b"2,5,0.\x00\x00\x00"], [0, 1], [4]),
        ([ROWS[0], b"\x00" * 50 + b"\r\n", ROWS[2]], [0, 2], [3]),
        ([ROWS[0], b"1,3,0.\xff\r\n", ROWS[2]], [0, 2], [3]),
        ([ROWS[0], b"1,3,half\r\n", ROWS[2]], [0, 2], [3]),
        ([ROWS[0], b"1,,0.5\r\n", ROWS[2]], [0, 2], [3]),
        ([ROWS[0], b"1,3,0.51,3,0.5\r\n", ROWS[2]], [0, 2], [3]),
        ([], [], []),
    ],
)
def test_damaged_lines_are_left_out_and_named(tmp_path, capfd, rows, kept, damaged):
    (tmp_path / "metrics.csv").write_bytes(HEADER + b"".join(rows))
    _, found = read_rows(io.BytesIO(HEADER + b"".join(rows)))
    assert [line for line, row in found if row is None] == damaged
    writer = _ContinuingWriter(tmp_path, steps_done=7)
    assert (tmp_path / "metrics.csv").read_bytes() == HEADER + b"".join(rows)  # not before there is something to add
    writer.log_metrics({"epoch": 3, "val/acc1": 1.0}, step=7)
    writer.save()
    expected = HEADER + b"".join(ROWS[number] for number in kept) + b"3,7,1.0\r\n"
    assert (tmp_path / "metrics.csv").read_bytes() == expected
    assert ("damaged: line " + ", ".join(map(str, damaged)) in capfd.readouterr().err) == bool(damaged)


def test_rows_of_steps_to_be_done_again_go_and_new_columns_come(tmp_path):
    (tmp_path / "metrics.csv").write_bytes(HEADER + b"".join(ROWS))
    writer = _ContinuingWriter(tmp_path, steps_done=4)
    writer.log_metrics({"epoch": 2, "val/loss": 1.5}, step=5)
    writer.save()
    lines = (tmp_path / "metrics.csv").read_text().split("\n")
    assert lines[:-1] == ["epoch,step,val/acc1,val/loss", "0,1,0.25,", "1,3,0.5,", "2,5,,1.5"]


@pytest.mark.parametrize("content", [b"", b"\x00" * 80, b"epoch,st", b"\xff\xfe\n0,1\n", b"a,b\n1,2\n"])
def test_a_file_without_names_is_kept_aside(tmp_path, capfd, content):
    (tmp_path / "metrics.csv").write_bytes(content)
    writer = _ContinuingWriter(tmp_path, steps_done=None)
    writer.log_metrics({"epoch": 3, "val/acc1": 1.0}, step=7)
    writer.save()
    assert (tmp_path / "metrics.csv").read_bytes() == HEADER + b"3,7,1.0\r\n"
    assert (tmp_path / DAMAGED).read_bytes() == content
    assert f"it is kept as {DAMAGED}" in capfd.readouterr().err


def test_a_line_that_finds_no_room_is_taken_back(tmp_path):
    (tmp_path / "metrics.csv").write_bytes(HEADER + b"".join(ROWS))
    writer = _ContinuingWriter(tmp_path, steps_done=None)
    for epoch in range(100):
        writer.log_metrics({"epoch": epoch, "val/acc1": 0.123456789}, step=epoch)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"metrics.csv: the file would be larger"):
            writer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "metrics.csv").read_bytes() == HEADER + b"".join(ROWS)
    writer.save()  # there is room again
    assert len((tmp_path / "metrics.csv").read_bytes().splitlines()) == 104


def test_a_table_takes_the_name_of_a_file_that_is_not_utf_8(tmp_path):
    write_csv(tmp_path / "table.csv", [["file", "class"], [os.fsdecode(b"\xff.png"), "é"]])
    assert (tmp_path / "table.csv").read_bytes() == b"file,class\r\n\xff.png," + "é\r\n".encode()
