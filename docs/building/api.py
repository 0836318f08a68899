"""The reference of the library: a page for each module whose names are public, from ``__all__``."""

from __future__ import annotations

import inspect
from importlib import import_module

import gcp
import gcp.errors
import gcp.linalg
from building.pages import write_folder

MODULES = {
    "gcp": sorted(gcp.__all__),
    "gcp.linalg": gcp.linalg.__all__,
    "gcp.errors": [
        name for name, thing in vars(gcp.errors).items() if inspect.isclass(thing) and thing.__module__ == "gcp.errors"
    ],
    "gcp.options": ["Options", "option", "make_options"],
    "datamodules.datasets": ["register_dataset", "DatasetInfo"],
    "lightning_modules.settings.callbacks": ["register_callback"],
}


def write() -> None:
    """Write the pages."""
    write_folder("api", {f"{module}.rst": _page(module, names) for module, names in MODULES.items()})


def _page(module: str, names: list[str]) -> str:
    title = f"``{module}``"
    listed = "\n".join(f"   {name}" for name in names)
    each = "\n".join(_entry(module, name) for name in names)
    return f"""{title}
{"=" * len(title)}

.. currentmodule:: {module}

.. autosummary::
   :nosignatures:

{listed}

{each}"""


def _entry(module: str, name: str) -> str:
    thing = getattr(import_module(module), name)
    if not inspect.isclass(thing):
        return f".. autofunction:: {name}\n"
    return f".. autoclass:: {name}\n   :show-inheritance:\n"
