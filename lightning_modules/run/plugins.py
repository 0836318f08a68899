"""Modules of a user's own that register methods, backbones or datasets. Free of torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from gcp.errors import MissingDependencyError, OptionError, first_line


def import_plugins(names: Iterable[object]) -> None:
    """Import the modules, installed ones or files of the working directory, which is looked into last.

    Only here and only for plugins does the working directory become a place of modules: a file in it that is called
    like a module of a library must never be run in its place.

    Raises:
        MissingDependencyError: no such module, or one that imports something that is not installed.
        OptionError: a module that fails, or a file of the working directory that an installed module hides.
    """
    chosen = [str(name) for name in names]
    if chosen and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in chosen:
        if name.endswith(".py") or os.sep in name:
            stem = Path(name).stem
            raise OptionError(f"plugin '{name}' is a file; name the module, plugins=[{stem}], and run in its folder")
        try:
            module = import_module(name)
        except ImportError as error:
            raise MissingDependencyError(f"plugin '{name}' cannot be imported: {error}") from error
        except (Exception, SystemExit) as error:
            kind = type(error).__name__
            raise OptionError(f"plugin '{name}' fails when imported ({kind}: {first_line(error)})") from error
        _check_place(name, module)


def _check_place(name: str, module: ModuleType) -> None:
    """Raise OptionError if a file of the working directory was meant, and an installed module taken."""
    place = Path.cwd().joinpath(*name.split("."))
    meant = next((each for each in (place.with_name(f"{place.name}.py"), place / "__init__.py") if each.exists()), None)
    found = getattr(module, "__file__", None)
    if meant is not None and (found is None or not Path(found).samefile(meant)):
        raise OptionError(f"plugin '{name}' is the installed module {found or name}, not {meant}; rename that file")
