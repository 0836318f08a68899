"""As much of the Hugging Face Hub as huggingface_hub needs to send and fetch a small repository, on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
    files: dict[str, bytes]
    requests: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.requests.append(f"POST {self.path}")
        if self.path.endswith("/preupload/main"):
            files = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                     for each in json.loads(body)["files"]]  # fmt: skip
            self._json({"files": files})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self._json(
                {
                    "success": True,
                    "commitOid": COMMIT,
                    "commitUrl": f"https://huggingface.co/someone/net/commit/{COMMIT}",
                }
            )
        else:
            self._json(
                {"url": "https://huggingface.co/someone/net", "name": "someone/net", "errors": [], "warnings": []}
            )

    def do_HEAD(self) -> None:
        self.requests.append(f"HEAD {self.path}")
        self._file(with_body=False)

    def do_GET(self) -> None:
        self.requests.append(f"GET {self.path}")
        self._file(with_body=True)

    def _file(self, with_body: bool) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        if not self.path.startswith("/someone/net/resolve/") or name not in self.files:
            self._json({"id": "someone/net", "sha": COMMIT}, 404 if "/resolve/" in self.path else 200)
            return
        contents = self.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(contents)))
        self.send_header("ETag", f'"{hashlib.sha256(contents).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(contents)

    def _json(self, value: dict[str, Any], status: int = 200) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing."""


@contextmanager
def hub_server() -> Iterator[tuple[str, type[Hub]]]:
    """Its address, and what it holds and was asked for."""
    handler = type("Handler", (Hub,), {"files": {}, "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        server.server_close()
