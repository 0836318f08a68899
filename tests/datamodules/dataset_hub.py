"""As much of the Hugging Face Hub as the library ``datasets`` needs to find and fetch a dataset, on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

COMMIT = "1" * 40
NAME = "someone/fruit"


class DatasetHub(BaseHTTPRequestHandler):
    """The files of a folder as the dataset ``someone/fruit``, at one commit."""

    folder: Path

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith(f"/datasets/{NAME}/resolve/"):
            file = self.folder / path.split("/resolve/")[1].partition("/")[2]
            self._file(file) if file.is_file() else self._json({}, 404, "EntryNotFound")
        elif path.startswith(f"/api/datasets/{NAME}/tree/"):
            inside = self.folder / path.split("/tree/")[1].partition("/")[2]
            files = [self._described(file) for file in sorted(inside.glob("*")) if file.is_file()]
            self._json(files) if inside.exists() else self._json({}, 404, "EntryNotFound")
        elif path.startswith(f"/api/datasets/{NAME}") or path == "/":
            self._json({"id": NAME, "sha": COMMIT, "siblings": [], "tags": []})
        else:
            self._json({}, 404, "RepoNotFound")

    def _described(self, file: Path) -> dict[str, Any]:
        oid = hashlib.sha1(file.read_bytes()).hexdigest()
        return {
            "type": "file",
            "path": file.relative_to(self.folder).as_posix(),
            "size": file.stat().st_size,
            "oid": oid,
        }

    def _file(self, file: Path) -> None:
        contents = file.read_bytes()
        begin, end = 0, len(contents)
        if "Range" in self.headers:
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last or end) + 1, end)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(contents)}")
        self.send_header("Content-Length", str(end - begin))
        self.send_header("ETag", f'"{hashlib.sha256(contents).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(contents[begin:end])

    def _json(self, value: Any, status: int = 200, error: str = "") -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("X-Error-Code", error)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(text)

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing."""


@contextmanager
def dataset_hub(folder: Path) -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (DatasetHub,), {"folder": folder}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
