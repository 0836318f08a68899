"""Real types and the complex ones that belong to them; tables, because the compiler does not know ``dtype.to_real``."""

import torch

REAL = {torch.complex32: torch.float16, torch.complex64: torch.float32, torch.complex128: torch.float64}
COMPLEX = {real: complex_ for complex_, real in REAL.items()}


def real_of(dtype: torch.dtype) -> torch.dtype:
    """The type of the parts of complex numbers, and of real numbers their own.

    >>> real_of(torch.complex64), real_of(torch.float64)
    (torch.float32, torch.float64)
    """
    return REAL.get(dtype, dtype)
