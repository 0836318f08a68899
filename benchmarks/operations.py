"""Operations and bytes of a spectral layer, counted: what its time and memory should grow as."""

from __future__ import annotations


def gram(path: str, channels: int, positions: int) -> bool:
    """Whether the positions x positions matrix is decomposed on the ``path`` auto, gram or dense.

    >>> gram("auto", 256, 196), gram("auto", 256, 784), gram("dense", 256, 196)
    (True, False, False)
    """
    return path == "gram" or (path == "auto" and positions < channels)


def decomposition(path: str, channels: int, positions: int) -> float:
    """Of an eigendecomposition, but for a constant: n^3.

    >>> decomposition("gram", 256, 10)
    1000.0
    """
    return float(positions if gram(path, channels, positions) else channels) ** 3


def products(path: str, channels: int, positions: int) -> float:
    """Multiplications in the matrix products of a forward and a backward, for one sample.

    Gram, n = N: Xc^T Xc, Xc V, U^T (G U), U (L o A) and T V^T take C N^2 each, Z and G U take C^2 N. Dense, n = C: the
    covariance, V and T V^T take C^2 N each, Z, G U, U^T (G U) and U (L o A) take C^3.

    >>> products("gram", 2, 1) == 5 * 2 + 2 * 4, products("dense", 1, 10) == 3 * 10 + 4
    (True, True)
    """
    C, N = float(channels), float(positions)
    return 5 * C * N**2 + 2 * C**2 * N if gram(path, channels, positions) else 3 * C**2 * N + 4 * C**3


def kept(path: str, channels: int, positions: int, item: int = 4) -> int:
    """Bytes kept for the backward of one sample: U (C, n) and V (N, n), of ``item`` bytes each, lam in float64.

    >>> kept("gram", 256, 49)
    60172
    """
    n = positions if gram(path, channels, positions) else channels
    return item * n * (channels + positions) + 8 * n


LEADING = {
    ("gram", "channels"): "C^2 N",
    ("gram", "positions"): "N^3",
    ("gram", "batch"): "B",
    ("dense", "channels"): "C^3",
    ("dense", "positions"): "C^2 N",
    ("dense", "batch"): "B",
}
"""Path and what grows, to the term that wins in the end."""
