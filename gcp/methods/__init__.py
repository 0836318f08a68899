"""The pooling methods, a file each: options, kernel and registration, top to bottom.

Every file of this folder is read, so a file added is a method added. All of it is free of torch, which is imported in
functions alone: names, options and ranges are known before anything heavy is.
"""

from importlib import import_module
from pkgutil import iter_modules

from gcp.methods.table import METHODS as METHODS
from gcp.methods.table import SPECTRAL as SPECTRAL
from gcp.methods.table import KernelOptions as KernelOptions
from gcp.methods.table import MethodInfo as MethodInfo
from gcp.methods.table import RootOptions as RootOptions
from gcp.methods.table import list_methods as list_methods
from gcp.methods.table import register_method as register_method
from gcp.spectral.spectral_options import CovarianceOptions as CovarianceOptions
from gcp.spectral.spectral_options import EstimateOptions as EstimateOptions
from gcp.spectral.spectral_options import SpectralOptions as SpectralOptions
from gcp.spectral.spectral_options import SquareRootOptions as SquareRootOptions

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")
