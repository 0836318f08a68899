"""A function of a matrix, computed once for as long as the matrix has the same values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gcp.functions import matrix_function
from gcp.spectral.method import SpectralMethod


@dataclass(frozen=True, eq=False)
class KeptFunction:
    """The result, and what it was made from.

    The values themselves are compared: a version counter would miss what is written through ``.data``.

    Attributes:
        source: a copy of the matrices (..., n, n).
        method: the method with its function.
        result: (..., n, n), of the dtype asked for.
    """

    source: Tensor
    method: SpectralMethod
    result: Tensor

    @classmethod
    def of(cls, matrix: Tensor, dtype: torch.dtype, method: SpectralMethod) -> KeptFunction:
        """Compute it, as a plain tensor without history, in inference mode too. Raises as `spectral_function`."""
        with torch.inference_mode(False), torch.no_grad():
            source = matrix.clone()
            return cls(source, method, matrix_function(source.to(dtype), method))

    @staticmethod
    def can_keep(matrix: Tensor) -> bool:
        """Whether ``matrix`` is just numbers: not traced, not vectorised over, not differentiated.

        >>> KeptFunction.can_keep(torch.eye(2)), KeptFunction.can_keep(torch.eye(2, device="meta"))
        (True, False)
        """
        if torch.compiler.is_compiling() or matrix.requires_grad or matrix.is_meta:
            return False
        try:
            matrix.data_ptr()
        except RuntimeError:  # torch.func's wrappers have no storage
            return False
        return True

    def serves(self, matrix: Tensor, dtype: torch.dtype, method: SpectralMethod) -> bool:
        """Whether it is the function of ``matrix`` by ``method`` in ``dtype``."""
        same_kind = (matrix.device, matrix.dtype, dtype) == (self.source.device, self.source.dtype, self.result.dtype)
        return same_kind and method is self.method and torch.equal(matrix, self.source)
