"""Where shards are: files and addresses, patterns with braces, and what is never followed."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlparse

from datamodules.shards.library import webdataset
from gcp.errors import DataError, first_line

PROGRAMS = ("curl", "gsutil", "ais")
REMOTE = "https, http, sftp, ftps, scp (by curl), gs (by gsutil), hf, ais"


def is_remote(url: str) -> bool:
    """Whether ``url`` has a scheme, such as https."""
    return "://" in url


def ends_with(place: str, ending: str) -> bool:
    """Whether the path of a file or address does, whatever is asked for behind it (``?token=...``)."""
    return (urlparse(place).path if is_remote(place) else place).endswith(ending)


def expanded(pattern: str, option: str) -> list[str]:
    """The files and addresses that ``train-{000..146}.tar`` means, and several such patterns with ``::`` between.

    Args:
        pattern: as the library webdataset has it.
        option: what it was set by, for messages.

    Raises:
        DataError: braces that do not match, or an address that is not followed, see `checked`.
    """
    expand = webdataset("shardlists").expand_urls
    try:
        urls: list[str] = expand(pattern)
    except (ValueError, AssertionError) as error:  # a variable of the environment that is not set is the latter
        raise DataError(f"{option}={pattern} cannot be expanded ({first_line(error)}); mend the pattern") from None
    return [checked(url, option) for url in urls]


def checked(url: str, option: str) -> str:
    """``url``, of a file without ``~``.

    Raises:
        DataError: a command (``pipe:``), which a configuration or an index shall not have run, the standard input, or a
            scheme that the library does not open.
    """
    schemes = webdataset("gopen").gopen_schemes
    if url.startswith("pipe:"):
        raise DataError(
            f"{option} has {url}, and commands of the shell are not run from a configuration or an index; give the "
            f"address itself ({REMOTE}), or a folder in which the shards are"
        )
    if is_remote(url):
        scheme = urlparse(url).scheme
        if scheme == "file":
            return str(Path(urlparse(url).path))
        if scheme not in schemes or scheme.startswith("__"):
            raise DataError(f"{option} has {url}, and '{scheme}' is no scheme that is opened; there are {REMOTE}")
        return url
    if url in ("", "-"):
        raise DataError(f"{option} has '{url}', which is no file; give a folder, files or addresses")
    return str(Path(url).expanduser())


def beside(place: str, name: str, option: str) -> str:
    """The file ``name``, as it is written in the index at ``place``, from where that lies."""
    if is_remote(name) or os.path.isabs(name) or name.startswith("pipe:"):
        return checked(name, option)
    return urljoin(place, name) if is_remote(place) else str(Path(place).parent / name)


def opened(url: str) -> IO[bytes]:
    """The file or address, to be read from the beginning; raises errors of every kind."""
    if not is_remote(url):
        return open(url, "rb")
    stream: IO[bytes] = webdataset("gopen").gopen(url, "rb")
    return stream


def read_json(url: str) -> Any:
    """What the file or address holds. Raises DataError if it cannot be read, or is no JSON."""
    try:
        with closing(opened(url)) as stream:
            return json.loads(stream.read())
    except Exception as error:  # curl's exit code, a file that is not there, no JSON
        raise DataError(f"the index {url} cannot be read ({reason(error)}); mend that") from None


def reason(error: Exception) -> str:
    """Why a file or address could not be read, in a few words."""
    if isinstance(error, FileNotFoundError) and error.filename in PROGRAMS:
        return f"the program {error.filename}, which opens such addresses, is not installed"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = first_line(error)
    if "curl" in text and "exit " in text:
        code = text.partition("exit ")[2].split()[0]
        return f"curl ended with code {code}: {CURL.get(code, 'see man curl')}"
    return text


CURL = {
    "6": "there is no such host",
    "7": "nothing answers there",
    "18": "the connection broke off",
    "22": "the server refuses, or has no such file",
    "28": "no answer in time",
    "56": "the connection broke off",
}
