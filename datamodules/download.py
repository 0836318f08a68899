"""Fetching a file from a public address."""

from __future__ import annotations

import os
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from datamodules.archives import CONSOLE
from gcp.errors import DataError

BLOCK = 1 << 18
PATIENCE = 30.0  # seconds without an answer


def download(url: str, target: Path) -> None:
    """Fetch ``url`` into ``target``, going on where an earlier attempt was interrupted.

    What has arrived is in ``target`` with the ending ``.part`` until it is whole.

    Raises DataError when the address does not answer or the connection breaks off; the next attempt goes on.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    have = partial.stat().st_size if partial.exists() else 0
    try:
        with urlopen(Request(url, headers={"Range": f"bytes={have}-"}), timeout=PATIENCE) as response:
            if response.status != 206:  # a server that knows no ranges starts again
                have = 0
            rest = response.headers.get("Content-Length")
            total = None if rest is None else have + int(rest)
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            with partial.open("ab" if have else "wb") as file, Progress(*columns, console=CONSOLE) as progress:
                task = progress.add_task(f"fetching {target.name}", total=total, completed=have)
                while block := response.read(BLOCK):
                    file.write(block)
                    progress.advance(task, len(block))
        if total is not None and partial.stat().st_size < total:
            raise URLError("the connection broke off")
    except HTTPError as error:
        if error.code != 416:  # nothing beyond what is here: it was whole
            raise _failed(url, target, error) from None
    except (URLError, HTTPException, OSError) as error:
        raise _failed(url, target, error) from None
    os.replace(partial, target)


def _failed(url: str, target: Path, error: Exception) -> DataError:
    return DataError(f"{url} cannot be fetched ({error}); try again, which goes on from there, or put it at {target}")
