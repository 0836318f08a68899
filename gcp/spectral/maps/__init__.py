"""Scalar maps f that act on eigenvalues: value, derivative and divided difference, one file each."""

from gcp.spectral.maps.base import MAPS, SpectralMap
from gcp.spectral.maps.custom import Custom
from gcp.spectral.maps.exponential import ExpNeg
from gcp.spectral.maps.inverse_square_root import InverseSquareRoot
from gcp.spectral.maps.logarithm import Log
from gcp.spectral.maps.lookup import as_map, list_functions, map_options
from gcp.spectral.maps.power import Power
from gcp.spectral.maps.square_root import SquareRoot

__all__ = [
    "MAPS",
    "Custom",
    "ExpNeg",
    "InverseSquareRoot",
    "Log",
    "Power",
    "SpectralMap",
    "SquareRoot",
    "as_map",
    "list_functions",
    "map_options",
]
