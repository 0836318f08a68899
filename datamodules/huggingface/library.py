"""The library ``datasets``: imported when it is needed, quiet, and with errors of one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from datamodules.archives import CONSOLE
from gcp.errors import DataError, GCPError, MissingDependencyError, first_line


def library() -> ModuleType:
    """The package. Raises MissingDependencyError if it is not installed."""
    try:
        return import_module("datasets")
    except ImportError as error:
        raise MissingDependencyError(
            "dataset=huggingface needs the library datasets; install it: pip install '.[huggingface]'"
        ) from error


@contextmanager
def reading(place: str, remedy: str) -> Iterator[ModuleType]:
    """The library, quiet, whose errors in the block become a DataError that says the ``place`` and the ``remedy``."""
    with quiet() as package:
        try:
            yield package
        except GCPError:
            raise
        except Exception as error:  # of its own, of pyarrow, of the file system, of whatever read a file of a format
            raise DataError(f"{place} cannot be read by the library datasets: {reason_of(error)}; {remedy}") from None


@contextmanager
def quiet() -> Iterator[ModuleType]:
    """The library without what it would log, which is in its errors too; its progress bars are for terminals."""
    package = library()
    logging = package.logging
    before, bars = logging.get_verbosity(), package.are_progress_bars_disabled()
    logging.set_verbosity(logging.CRITICAL)
    if not CONSOLE.is_terminal:
        package.disable_progress_bars()
    try:
        yield package
    finally:
        logging.set_verbosity(before)
        if not bars:
            package.enable_progress_bars()


def reason_of(error: BaseException) -> str:
    """What went wrong at first, in a line: the last error of the library often says no more than that there is one."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error).rstrip(".")
