"""Scalar maps f that act on eigenvalues: value, derivative and divided difference, one file each."""

from gcp.spectral.maps.base import MAPS, SpectralMap
from gcp.spectral.maps.custom import Custom
from gcp.spectral.maps.elementary import ExpNeg, InverseSquareRoot, Log, SquareRoot
from gcp.spectral.maps.lookup import as_map, list_functions, map_options
from gcp.spectral.maps.power import Power

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

for _map in (ExpNeg, InverseSquareRoot, Log, Power, SquareRoot):
    MAPS.register(_map.name, _map)
