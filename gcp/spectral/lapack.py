"""The two matrix decompositions everything rests on, tried again in other ways when they do not converge.

No layer decomposes a matrix in another way, except when it is exported. On a CPU the matrices of a batch are
shared out to its cores: LAPACK takes one matrix after the other, and threads inside one small matrix cost more than
they bring. Each thread takes the next few matrices whenever it is done with the last.

Seen with torch 2.15 and MKL 2024.2 on two cores of an AMD EPYC, 8 matrices, float64, milliseconds; each right after a
product of torch's, as it is in a network, whose threads still kept the cores busy (OpenMP's default; where they sleep
soon, as under run.py, the pool has them to itself):

    rows                                    49      169     196     256
    one thread                              1.2     21      24      53
    two threads inside a matrix             1.3     16      21      39
    shared by two threads of a pool         1.9     15      20      33

On an Intel Xeon one thread took 0.13, 1.5, 2.1 and 8 ms a matrix. LAPACK's evr driver (scipy) is not faster than the
evd that torch uses.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace

import torch
from torch import Tensor

from gcp.errors import DecompositionError, SpeedWarning
from gcp.spectral.pool import in_parallel, threads_for

Parts = tuple[Tensor, ...]
Decompose = Callable[[Tensor], Parts]
LARGEST_BATCH = 28_000  # matrices at a time: near 32,000 cuSOLVER's batched routine fails
WORTHWHILE = 48  # rows; a matrix of fewer is decomposed in less than 0.1 ms, so threads take several at a time
BATCHED_SINCE, LOOPED_FROM = (2, 12), 32  # torch's CUDA decompositions of more rows, before that, are a loop
LinAlgError: type[RuntimeError] = torch.linalg.LinAlgError


@dataclass(frozen=True)
class Failures:
    """Number of samples since the last `FailureCounter.take`.

    Attributes:
        rescaled: decomposed only after scaling to unit trace (or norm).
        moved: decomposed only on the CPU.
        jittered: decomposed only with a relative jitter.
        zeroed: held NaN or infinity and were taken as zero (option ``nonfinite="zero"``).
    """

    rescaled: int = 0
    moved: int = 0
    jittered: int = 0
    zeroed: int = 0

    def __bool__(self) -> bool:
        return any(astuple(self))


class FailureCounter:
    """Counts repaired samples; safe to use from several threads.

    It only counts: nothing is computed differently because of it. Decompositions run inside a custom operator, which
    knows no module, so there is one counter per process, `FAILURES`; read and reset it with ``FAILURES.take()``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted = Failures()

    def add(self, **counts: int) -> None:
        """Count samples: ``add(rescaled=1)``; names of `Failures`."""
        with self._lock:
            more = {kind: getattr(self._counted, kind) + count for kind, count in counts.items()}
            self._counted = replace(self._counted, **more)

    def read(self) -> Failures:
        """What was counted since the last `take`."""
        return self._counted

    def take(self) -> Failures:
        """What was counted since the last `take`; starts again at zero."""
        with self._lock:
            counted, self._counted = self._counted, Failures()
        return counted


FAILURES = FailureCounter()


def eigh(matrix: Tensor, decompose: Decompose | None = None) -> Parts:
    """Eigenvalues (B, n), ascending, and eigenvectors (B, n, n) of symmetric or Hermitian matrices (B, n, n).

    Only the lower triangles are read. ``decompose`` takes the place of `plain_eigh`.

    Raises:
        DecompositionError: a matrix that cannot be decomposed even rescaled, on the CPU and with jitter; names it.
    """

    def empty() -> Parts:
        vectors = torch.empty_like(matrix).mT  # columns together, as LAPACK's
        return matrix.new_empty(matrix.shape[:-1], dtype=matrix.dtype.to_real()), vectors

    return _spread(decompose or plain_eigh, matrix, empty)


def svd(matrix: Tensor, full_matrices: bool = False) -> Parts:
    """Singular values (B, k), descending, U (B, m, k) and V^H (B, k, n) of matrices (B, m, n), k = min(m, n).

    With ``full_matrices`` U is (B, m, m) and V^H (B, n, n).

    Raises:
        DecompositionError: as `eigh`.
    """
    batch, rows, columns = matrix.shape
    rank = min(rows, columns)

    def empty() -> Parts:
        U = matrix.new_empty((batch, rows, rows if full_matrices else rank))
        Vh = matrix.new_empty((batch, columns if full_matrices else rank, columns))
        return matrix.new_empty((batch, rank), dtype=matrix.dtype.to_real()), U, Vh

    return _spread(full_svd if full_matrices else plain_svd, matrix, empty)


def plain_eigh(matrix: Tensor) -> Parts:
    """`eigh` without retries: raises LinAlgError."""
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors


def plain_svd(matrix: Tensor) -> Parts:
    """`svd` without retries: raises LinAlgError."""
    U, values, Vh = torch.linalg.svd(matrix, full_matrices=False)
    return values, U, Vh


def full_svd(matrix: Tensor) -> Parts:
    """`plain_svd` with all of U and V^H."""
    U, values, Vh = torch.linalg.svd(matrix, full_matrices=True)
    return values, U, Vh


def _spread(decompose: Decompose, batch: Tensor, empty: Callable[[], Parts]) -> Parts:
    """``decompose(batch)``; on a CPU, whose cores share it, into what ``empty`` gives."""
    if batch.device.type != "cpu" or not batch.numel():
        warn_of_slow_batches(batch.device.type, batch.shape[-1], torch.__version__)
        return _persist(decompose, batch)
    run = -(-(WORTHWHILE**2) // (batch.shape[-2] * batch.shape[-1]))
    if threads_for(len(batch), run) == 1:
        return _persist(decompose, batch)
    out = empty()

    def share(start: int, stop: int) -> None:
        try:
            parts = _persist(decompose, batch[start:stop])
        except DecompositionError as error:
            raise not_converged(start + error.samples[0], len(batch)) from None
        for part, target in zip(parts, out, strict=True):
            target[start:stop].copy_(part)

    in_parallel(share, len(batch), run)
    return out


def _persist(decompose: Decompose, batch: Tensor) -> Parts:
    """``decompose(batch)``; when that fails, matrix by matrix, and in other ways for those that fail alone."""
    try:
        return _in_chunks(decompose, batch)
    except LinAlgError:
        pass
    parts = []
    for sample, matrix in enumerate(batch):
        try:
            parts.append(decompose(matrix))
        except LinAlgError:
            rescued = _rescue(decompose, matrix)
            if rescued is None:
                raise not_converged(sample, len(batch)) from None
            parts.append(rescued)
    return tuple(torch.stack(part) for part in zip(*parts, strict=True))


def _in_chunks(decompose: Decompose, batch: Tensor) -> Parts:
    """``decompose(batch)``, of no more than `LARGEST_BATCH` matrices at a time."""
    if len(batch) <= LARGEST_BATCH:
        return decompose(batch)
    chunks = [decompose(chunk) for chunk in torch.split(batch, LARGEST_BATCH)]
    return tuple(torch.cat(parts) for parts in zip(*chunks, strict=True))


def warn_of_slow_batches(device: str, rows: int, version: str) -> None:
    """Warn, once a place, of a torch whose CUDA decompositions take one matrix after the other.

    >>> warn_of_slow_batches("cpu", 49, "2.11.0")
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    if device == "cuda" and rows > LOOPED_FROM and (major, minor) < BATCHED_SINCE:
        warnings.warn(
            f"torch {version} decomposes matrices of more than {LOOPED_FROM} rows one after the other on CUDA; "
            f"{'.'.join(map(str, BATCHED_SINCE))} or newer takes a batch at once, 30 to 50 times as fast; or set "
            "solver=cpu",
            SpeedWarning,
            stacklevel=2,
        )


def _rescue(decompose: Decompose, matrix: Tensor) -> Parts | None:
    """Decompose one matrix (m, n) in whatever way works, or None."""
    singular = decompose in (plain_svd, full_svd)
    size = torch.linalg.vector_norm(matrix) if singular else matrix.diagonal().sum().real
    scale = torch.where(size > 0, size, 1)
    unit = matrix / scale
    jitter = torch.finfo(matrix.dtype).eps * max(matrix.shape) * torch.eye(*matrix.shape, dtype=matrix.dtype)
    attempts = {"rescaled": unit, "moved": unit.cpu(), "jittered": unit.cpu() + jitter}
    if matrix.device.type == "cpu":
        del attempts["moved"]
    for kind, attempt in attempts.items():
        try:
            values, *others = (part.to(matrix.device) for part in decompose(attempt))
        except LinAlgError:
            continue
        FAILURES.add(**{kind: 1})
        return values * scale, *others
    return None


def not_converged(sample: int, samples: int) -> DecompositionError:
    """The error that names the sample."""
    return DecompositionError(
        f"the decomposition of sample {sample} of {samples} does not converge, even rescaled, on the CPU and with "
        "jitter; look for values that are very large or very small in its features",
        (sample,),
    )
