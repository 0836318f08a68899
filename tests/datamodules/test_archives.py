"""Archives that mean harm, and downloads that break off; everything on this machine."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


@pytest.mark.parametrize(
    "member",
    [
        regular("../outside.txt"),
        regular("folder/../../outside.txt"),
        link("link", "../../outside.txt", tarfile.SYMTYPE),
        link("link", "/etc/passwd", tarfile.SYMTYPE),
        link("link", "../outside.txt", tarfile.LNKTYPE),
    ],
    ids=["parent", "detour", "symbolic link", "absolute link", "hard link"],
)
def test_nothing_is_extracted_outside(member, tmp_path):
    tar_with(tmp_path / "bad.tgz", regular("good.txt"), member)
    (tmp_path / "in/side").mkdir(parents=True)
    with pytest.raises(DataError, match="would lie outside its folder; nothing was extracted"):
        extract(tmp_path / "bad.tgz", tmp_path / "in/side")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["bad.tgz", "in", "side"]


def test_absolute_paths_lose_their_slash_or_are_refused(tmp_path):
    tar_with(tmp_path / "bad.tgz", regular(str(tmp_path / "outside.txt")))
    extract(tmp_path / "bad.tgz", tmp_path / "inside")
    assert not (tmp_path / "outside.txt").exists()
    assert [path.name for path in tmp_path.rglob("outside.txt")] == ["outside.txt"]  # below its folder


def test_zip_archives_likewise(tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("good.txt", "text")
        archive.writestr("../outside.txt", "text")
    with pytest.raises(DataError, match=r"'\.\./outside\.txt', which would lie outside"):
        extract(tmp_path / "bad.zip", tmp_path / "inside")
    assert not list((tmp_path / "inside").iterdir())
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as archive:
        archive.writestr("folder/good.txt", "text")
    extract(tmp_path / "good.zip", tmp_path / "inside")
    assert (tmp_path / "inside/folder/good.txt").read_text() == "text"


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
