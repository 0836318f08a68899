"""Decompositions whose gradients do not blow up, and functions that need no decomposition's vectors to be well defined.

As `torch.linalg`, on matrices (..., m, n), real or complex.
"""

from gcp.linalg.eigh import eigh as eigh
from gcp.linalg.eigh import eigvalsh as eigvalsh
from gcp.linalg.pca import pca as pca
from gcp.linalg.polar import nearest_rotation as nearest_rotation
from gcp.linalg.polar import polar as polar
from gcp.linalg.polar import procrustes as procrustes
from gcp.linalg.projector import eigenprojector as eigenprojector
from gcp.linalg.projector import smallest_eigenvector as smallest_eigenvector
from gcp.linalg.singular_function import singular_function as singular_function
from gcp.linalg.svd import svd as svd
from gcp.linalg.svd import svdvals as svdvals

__all__ = [
    "eigenprojector", "eigh", "eigvalsh", "nearest_rotation", "pca", "polar", "procrustes", "singular_function",
    "smallest_eigenvector", "svd", "svdvals",
]  # fmt: skip
