"""The Hugging Face Hub: folders fetched from it and sent to it, and one sentence where it cannot be reached."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

from gcp.errors import CheckpointError, GCPError, MissingDependencyError, OptionError, first_line
from gcp.hub.config_file import read_config
from gcp.hub.files import CONFIG, WEIGHTS

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
PATIENCE = 5  # seconds


def is_repository(name: str) -> bool:
    """Whether ``name`` can be a repository's: "owner/name".

    >>> is_repository("someone/resnet50-pade"), is_repository("../weights"), is_repository("a/b/c")
    (True, False, False)
    """
    return REPOSITORY.fullmatch(name) is not None and ".." not in name


def huggingface() -> ModuleType:
    """The package. Raises MissingDependencyError if it is not installed."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingDependencyError(
            "the Hub is reached through huggingface_hub, of the extra hub; install it with: pip install '.[hub]'"
        ) from error
    return huggingface_hub


def fetch(repository: str, revision: str | None) -> Path:
    """The folder of a repository, in huggingface_hub's cache: from the Hub, or, where that is out of reach, as it is.

    Raises CheckpointError: neither, or no such repository, revision or file.
    """
    package = huggingface()
    failure = unreachable(package)
    try:
        for name in (CONFIG, WEIGHTS):
            file = Path(package.hf_hub_download(repository, name, revision=revision, local_files_only=bool(failure)))
            if name == CONFIG:
                read_config(file)  # before weights are fetched
    except CheckpointError:
        raise
    except Exception as error:  # of the package, of its transport, or of the disk
        if failure is not None:
            raise CheckpointError(
                f"{repository} is neither a folder nor in the local cache, and the Hub is out of reach ({failure})"
            ) from None
        raise CheckpointError(f"{repository} cannot be had from the Hub: {_reason(error)}") from None
    return file.parent


def push(folder: Path, repository: str, private: bool | None, token: str | None, message: str) -> str:
    """Send the folder to a repository, which is made if there is none; the address of what was sent.

    Raises:
        OptionError: a name that no repository can have.
        CheckpointError: the Hub is out of reach or refuses.
    """
    if not is_repository(repository):
        raise OptionError(f"a repository is called owner/name, got {repository!a}")
    package = huggingface()
    failure = unreachable(package)
    if failure is not None:
        raise CheckpointError(f"nothing was sent to {repository}: the Hub is out of reach ({failure})")
    try:
        api = package.HfApi(token=token)
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repository, folder_path=str(folder), commit_message=message)
    except Exception as error:
        raise CheckpointError(f"{repository} was not sent to the Hub: {_reason(error)}") from None
    return str(done.commit_url)


def unreachable(package: ModuleType) -> str | None:
    """Why the Hub is out of reach, after one attempt, or None: without it the package tries for half a minute."""
    try:
        package.get_session().head(package.constants.ENDPOINT, timeout=PATIENCE)
    except GCPError:
        raise
    except Exception as error:  # of whatever transport the package has
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    return first_line(error).rstrip(".")
