"""What had to be repaired in decompositions, counted."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields


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
        return any(getattr(self, field.name) for field in fields(self))


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
            self._counted = Failures(
                **{
                    field.name: getattr(self._counted, field.name) + counts.pop(field.name, 0)
                    for field in fields(Failures)
                }
            )
        assert not counts, f"unknown kinds of failure: {counts}"

    def read(self) -> Failures:
        """What was counted since the last `take`."""
        return self._counted

    def take(self) -> Failures:
        """What was counted since the last `take`; starts again at zero."""
        with self._lock:
            counted, self._counted = self._counted, Failures()
        return counted


FAILURES = FailureCounter()
