"""Archives that mean harm, and downloads that break off; everything on this machine."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from datamodules.archives import extract
from datamodules.download import download
from datamodules.location import Archive, Layout, locate
from gcp.errors import DataError


def tar_with(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(*member)


def regular(name):
    info = tarfile.TarInfo(name)
    info.size = 4
    return info, io.BytesIO(b"text")


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return (info,)


def refused(archive, reason):
    """Extracting ends with that reason, and leaves nothing anywhere."""
    inside = archive.parent / "in/side"
    inside.mkdir(parents=True)
    with pytest.raises(DataError, match=reason) as caught:
        extract(archive, inside)
    assert "\n" not in str(caught.value)
    assert archive.name in str(caught.value)
    assert sorted(path.name for path in archive.parent.rglob("*")) == sorted([archive.name, "in", "side"])


@pytest.mark.parametrize("name", ["../outside.txt", "folder/../../outside.txt", "/outside.txt"])
def test_nothing_is_extracted_outside(name, tmp_path):
    tar_with(tmp_path / "bad.tgz", regular("good.txt"), regular(name))
    refused(tmp_path / "bad.tgz", f"holds '{name}', which would lie outside its folder; nothing was extracted")
    assert not Path("/outside.txt").exists()


KINDS = {
    "symbolic link": (tarfile.SYMTYPE, "a link"),
    "hard link": (tarfile.LNKTYPE, "a link"),
    "character device": (tarfile.CHRTYPE, "a device"),
    "block device": (tarfile.BLKTYPE, "a device"),
    "pipe": (tarfile.FIFOTYPE, "a device"),
}


@pytest.mark.parametrize("target", ["good.txt", "../../outside.txt", "/etc/passwd"])
@pytest.mark.parametrize("kind", KINDS)
def test_links_and_devices_are_refused_wherever_they_point(kind, target, tmp_path):
    of_tar, reason = KINDS[kind]
    tar_with(tmp_path / "bad.tgz", regular("good.txt"), link("odd", target, of_tar))
    refused(tmp_path / "bad.tgz", f"holds 'odd', which is {reason}.*, which no dataset needs; nothing was extracted")


def test_a_chain_of_links_longer_than_a_path_may_be(tmp_path):
    """CVE-2025-4517: the path is resolved only so far, and a hard link through it leads outside."""
    component, steps, members, path = "d" * 247, "abcdefghijklmnop", [], ""
    for step in steps:
        folder = tarfile.TarInfo(os.path.join(path, component))
        folder.type = tarfile.DIRTYPE
        members += [(folder,), link(os.path.join(path, step), component, tarfile.SYMTYPE)]
        path = os.path.join(path, component)
    long = os.path.join("/".join(steps), "l" * 254)
    members += [
        link(long, "../" * len(steps), tarfile.SYMTYPE),
        link("escape", long + "/../../outside.txt", tarfile.SYMTYPE),
        link("hard", "escape", tarfile.LNKTYPE),
        regular("hard"),
    ]
    tar_with(tmp_path / "bad.tgz", *members)
    refused(tmp_path / "bad.tgz", "is a link")


def zipped(path, *members, mode=0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


def test_zip_archives_likewise(tmp_path):
    for number, name in enumerate(["../outside.txt", "/outside.txt"]):
        (tmp_path / str(number)).mkdir()
        zipped(tmp_path / f"{number}/bad.zip", ("good.txt", "text"), (name, "text"))
        refused(tmp_path / f"{number}/bad.zip", f"'{name}', which would lie outside")
    (tmp_path / "link").mkdir()
    zipped(tmp_path / "link/bad.zip", ("odd", "../../outside.txt"), mode=stat.S_IFLNK | 0o777)
    refused(tmp_path / "link/bad.zip", "holds 'odd', which is a link")
    (tmp_path / "sum").mkdir()
    zipped(tmp_path / "sum/bad.zip", ("good.txt", bytes(range(256)) * 9))
    whole = (tmp_path / "sum/bad.zip").read_bytes()
    (tmp_path / "sum/bad.zip").write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
    refused(tmp_path / "sum/bad.zip", "is damaged")
    zipped(tmp_path / "good.zip", ("folder/", ""), ("folder/good.txt", "text"))
    extract(tmp_path / "good.zip", tmp_path / "inside")
    assert (tmp_path / "inside/folder/good.txt").read_text() == "text"


@pytest.mark.parametrize("ending", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_a_small_archive_of_much(ending, tmp_path):
    zeros = bytes(1 << 22)
    file = tmp_path / f"bomb.{ending}"
    if ending == "zip":
        zipped(file, *((f"{number}.jpg", zeros) for number in range(5)))
    else:
        with tarfile.open(file, f"w:{ending[4:]}") as archive:
            for number in range(5):
                info = tarfile.TarInfo(f"{number}.jpg")
                info.size = len(zeros)
                archive.addfile(info, io.BytesIO(zeros))
    assert file.stat().st_size < 1 << 20
    refused(file, "unpacks to more than 16.8 MB, which no archive of images does; nothing was extracted")


def test_much_that_is_no_file(tmp_path):
    """Headers alone: a comment of 20 MB."""
    with tarfile.open(tmp_path / "bomb.tgz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        info, text = regular("good.txt")
        info.pax_headers = {"comment": "x" * 20_000_000}
        archive.addfile(info, text)
    refused(tmp_path / "bomb.tgz", "unpacks to more than 16.8 MB")


def test_more_than_the_disk_has_room_for(tmp_path, monkeypatch):
    tar_with(tmp_path / "data.tgz", regular("a.txt"), regular("b.txt"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7))
    refused(tmp_path / "data.tgz", "needs more than the 0.0 MB that are free where it is extracted; make room")


@pytest.mark.parametrize("place", [-8, -4, -1])
def test_the_sums_at_the_end_of_gzip_are_checked(place, tmp_path):
    tar_with(tmp_path / "data.tgz", regular("good.txt"))
    whole = bytearray((tmp_path / "data.tgz").read_bytes())
    whole[place] ^= 1
    (tmp_path / "data.tgz").write_bytes(whole)
    refused(tmp_path / "data.tgz", "data.tgz is damaged")


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_cut_anywhere(ending, tmp_path):
    with tarfile.open(tmp_path / f"data.{ending}", "w:" + ending[4:]) as archive:
        for number in range(3):
            info, text = regular(f"{number}.txt")
            archive.addfile(info, text)
    whole = (tmp_path / f"data.{ending}").read_bytes()
    lengths = (
        [0, 1, 511, 512, 700, 1024, 2048, 3072] if ending == "tar" else [1, 5, 20, len(whole) // 2, len(whole) - 1]
    )
    for length in lengths:
        (tmp_path / f"{length}").mkdir()
        (tmp_path / f"{length}/data.{ending}").write_bytes(whole[:length])
        refused(tmp_path / f"{length}/data.{ending}", "is damaged")
    extract(tmp_path / f"data.{ending}", tmp_path / "whole")
    assert len(list((tmp_path / "whole").iterdir())) == 3


def test_what_is_there_already_stays(tmp_path):
    tar_with(tmp_path / "data.tgz", regular("folder/new.txt"))
    (tmp_path / "inside/folder").mkdir(parents=True)
    (tmp_path / "inside/folder/mine.txt").write_text("mine")
    extract(tmp_path / "data.tgz", tmp_path / "inside")
    assert [path.name for path in (tmp_path / "inside/folder").iterdir()] == ["mine.txt"]


class Server(BaseHTTPRequestHandler):
    """Serves ``content``; with ``short`` bytes only, the first time."""

    def __init__(self, content, log, ranges, *rest):
        self.content, self.log, self.ranges = content, log, ranges
        super().__init__(*rest)

    def do_GET(self):
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")) if self.ranges else 0
        self.log.append(start)
        if self.path == "/gone":
            self.send_error(404)
            return
        if start >= len(self.content) and self.ranges:
            self.send_error(416)
            return
        body = self.content[start:]
        self.send_response(206 if self.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path == "/slow":
            time.sleep(1.5)  # time for the other processes to come
        short = self.path == "/short" and len(self.log) == 1
        self.wfile.write(body[: len(body) // 2] if short else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def served():
    servers = []

    def serve(content, ranges=True):
        log = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, content, log, ranges))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", log

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # another test's, which knows the proxy, would be used again


def test_a_download_goes_on_where_it_broke_off(served, tmp_path):
    content = bytes(range(256)) * 4000
    address, log = served(content)
    with pytest.raises(DataError, match=r"cannot be fetched .*try again, which goes on from there"):
        download(f"{address}/short", tmp_path / "file")
    assert not (tmp_path / "file").exists()
    download(f"{address}/short", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content
    assert log == [0, len(content) // 2]
    assert not (tmp_path / "file.part").exists()


def test_a_server_without_ranges_starts_again(served, tmp_path):
    content = b"text" * 1000
    address, _ = served(content, ranges=False)
    (tmp_path / "file.part").write_bytes(b"old")
    download(f"{address}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content


def test_a_part_that_is_whole(served, tmp_path):
    address, _ = served(b"text")
    (tmp_path / "file.part").write_bytes(b"text")
    download(f"{address}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"text"


def test_an_address_that_is_gone(served, tmp_path):
    address, _ = served(b"")
    with pytest.raises(DataError, match=r"/gone cannot be fetched \(HTTP Error 404.*put it at"):
        download(f"{address}/gone", tmp_path / "file")


def test_a_dataset_is_fetched_and_extracted(served, tmp_path):
    tar_with(tmp_path / "data.tgz", regular("folder/list.txt"))
    address, _ = served((tmp_path / "data.tgz").read_bytes())
    layout = Layout((("list.txt",),), "folder", (Archive("data.tgz", url=f"{address}/data.tgz"),))
    with pytest.raises(DataError, match=r"put data\.tgz there, or add data\.download=true"):
        locate(tmp_path / "root", layout, fetch=False)
    assert locate(tmp_path / "root", layout, fetch=True) == tmp_path / "root/folder"


def test_a_dataset_without_an_address(tmp_path):
    with pytest.raises(DataError, match="no public address"):
        locate(tmp_path, Layout((("list.txt",),)), fetch=True)


PREPARE = """
import sys
from datamodules.location import Archive, Layout, locate
layout = Layout((("list.txt",),), "folder", (Archive("data.tgz", url=sys.argv[2]),))
print(locate(__import__("pathlib").Path(sys.argv[1]), layout, fetch=True))
"""


def test_of_several_processes_one_prepares(served, tmp_path):
    tar_with(tmp_path / "data.tgz", regular("folder/list.txt"))
    address, log = served((tmp_path / "data.tgz").read_bytes())
    command = [sys.executable, "-c", PREPARE, str(tmp_path / "root"), f"{address}/slow"]
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    processes = [subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment) for _ in range(3)]
    outcomes = [process.communicate() for process in processes]
    assert [out.strip() for out, _ in outcomes] == [str(tmp_path / "root/folder")] * 3
    assert log == [0]  # fetched once
    assert not any("Traceback" in err for _, err in outcomes)


def test_what_a_killed_process_left_is_removed(tmp_path):
    tar_with(tmp_path / "data.tgz", regular("folder/list.txt"))
    (tmp_path / "root/.extracting/folder").mkdir(parents=True)
    (tmp_path / "root/.extracting/folder/half.txt").touch()
    extract(tmp_path / "data.tgz", tmp_path / "root")
    assert [path.name for path in (tmp_path / "root").rglob("*")] == ["folder", "list.txt"]


def test_a_folder_that_cannot_be_written(tmp_path):
    tar_with(tmp_path / "data.tgz", regular("folder/list.txt"))
    (tmp_path / ".preparing.lock").mkdir()  # as root, as which tests may run, permissions stop nothing
    layout = Layout((("list.txt",),), "folder", (Archive("data.tgz"),))
    with pytest.raises(DataError, match=r"cannot be read or extracted .*mend that, or extract it elsewhere"):
        locate(tmp_path, layout, fetch=False)


def test_nothing_is_fetched_when_the_dataset_lies_nearby(served, tmp_path):
    address, log = served(b"")
    (tmp_path / "right").mkdir()
    (tmp_path / "right/list.txt").touch()
    layout = Layout((("list.txt",),), "", (Archive("data.tgz", url=f"{address}/data.tgz"),))
    with pytest.raises(DataError, match=f"set data.root={tmp_path}/right$"):
        locate(tmp_path, layout, fetch=True)
    assert log == []
