"""The pooling methods, a file each: options, kernel and registration, top to bottom.

Every file of this folder is read, so a file added is a method added. All of it is free of torch, which is imported in
functions alone: names, options and ranges are known before anything heavy is.
"""

from importlib import import_module
from pkgutil import iter_modules

from gcp.methods.options import KernelOptions, RootOptions
from gcp.methods.table import METHODS, MethodInfo, list_methods, register_method
from gcp.spectral.options import CovarianceOptions, SpectralOptions

__all__ = [
    "METHODS",
    "CovarianceOptions",
    "KernelOptions",
    "MethodInfo",
    "RootOptions",
    "SpectralOptions",
    "list_methods",
    "register_method",
]

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")
