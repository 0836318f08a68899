"""Scalar maps f that act on eigenvalues: value, derivative and divided difference."""

from gcp.spectral.maps.base import MAPS as MAPS
from gcp.spectral.maps.base import SpectralMap as SpectralMap
from gcp.spectral.maps.custom import Custom as Custom
from gcp.spectral.maps.elementary import ExpNeg as ExpNeg
from gcp.spectral.maps.elementary import InverseSquareRoot as InverseSquareRoot
from gcp.spectral.maps.elementary import Log as Log
from gcp.spectral.maps.elementary import SquareRoot as SquareRoot
from gcp.spectral.maps.lookup import as_map as as_map
from gcp.spectral.maps.lookup import list_functions as list_functions
from gcp.spectral.maps.lookup import map_options as map_options
from gcp.spectral.maps.power import Power as Power

for _map in (ExpNeg, InverseSquareRoot, Log, Power, SquareRoot):
    MAPS.register(_map.name, _map)
