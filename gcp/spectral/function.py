"""The one autograd Function: a function of the covariance of features, with a method's kernel in its backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gcp.kernels.loewner import Loewner, Spectrum
from gcp.methods import SpectralOptions
from gcp.spectral.decomposition import factorise, spectrum
from gcp.spectral.maps import SpectralMap


@dataclass(frozen=True)
class SpectralMethod:
    """A method ready to be applied: its kernel, its options and the map f."""

    kernel: Callable[[Spectrum, Any], Loewner]
    keep: Callable[[Spectrum, Any], Tensor] | None
    options: SpectralOptions
    function: SpectralMap

    @property
    def squared(self) -> bool:
        """Whether the decomposition takes the square of the features; see `factorise`."""
        return self.options.precision != "float32"

    def decomposition_dtype(self) -> torch.dtype:
        """dtype of centring, decomposition and kernel."""
        return torch.float64 if self.squared else torch.float32

    def product_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """dtype of the C x C products for input of ``dtype``."""
        if self.options.precision == "mixed":
            return torch.promote_types(dtype, torch.float32)
        return self.decomposition_dtype()

    def values(self, spectrum: Spectrum) -> Tensor:
        """f(lam) of the eigenvalues the method keeps, 0 for the others; (B, n) without the appended null space."""
        values = self.function.value(spectrum.eigenvalues)
        if self.keep is not None:
            values = torch.where(self.keep(spectrum, self.options), values, 0)
        return values[..., :-1]


class CovarianceFunction(torch.autograd.Function):
    """Z = f(covariance of x), and dL/dx by the kernel of the method.

    The covariance P = Xc Xc^T is never differentiated on its own: with Xc = U diag(sqrt lam) V^T and
    A = U^T sym(G) U, G = dL/dZ, M_ij = L_ij sqrt(lam_j) and m0_j = L(lam_j, 0) sqrt(lam_j),

        dL/dXc = 2 [U ((M - 1 m0^T) o A) + sym(G) U diag(m0) + c U diag(sqrt lam)] V^T,

    which needs U only where lam > 0, the null space entering through the projector I - U U^T; and the result is
    centred already. sqrt(lam) is folded into L because L alone grows like 1/sqrt(lam).
    """

    @staticmethod
    def forward(x: Tensor, method: SpectralMethod) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Z (B, C, C), then the factors kept for the backward, which are not differentiable; x is (B, C, N)."""
        channels, positions = x.shape[-2:]
        working = x.to(method.decomposition_dtype())
        centred = (working - working.mean(-1, keepdim=True)) / positions**0.5
        factors = factorise(centred, method.squared)
        values = method.values(spectrum(factors.eigenvalues, channels, positions, method.function, method.squared))
        dtype = method.product_dtype(x.dtype)
        U, V = factors.U.to(dtype), factors.V.to(dtype)
        Z = (U * values.to(dtype).unsqueeze(-2)) @ U.mT
        return Z.to(x.dtype), U, factors.eigenvalues, V

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, SpectralMethod], output: tuple[Tensor, ...]) -> None:
        """Keep the factors: (B, C, n) and (B, N, n), nothing C x C when N < C."""
        _, U, eigenvalues, V = output
        ctx.method = inputs[1]
        ctx.mark_non_differentiable(U, eigenvalues, V)
        ctx.save_for_backward(U, eigenvalues, V)
        ctx.set_materialize_grads(False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, None]:
        """dL/dx (B, C, N) from dL/dZ (B, C, C)."""
        if grad is None:
            return None, None
        method: SpectralMethod = ctx.method
        U, eigenvalues, V = ctx.saved_tensors
        channels, positions = U.shape[-2], V.shape[-2]
        loewner = method.kernel(
            spectrum(eigenvalues, channels, positions, method.function, method.squared), method.options
        )
        root = eigenvalues.sqrt()
        folded = (loewner.matrix[..., :-1, :-1] * root.unsqueeze(-2)).to(U.dtype)
        null = (loewner.matrix[..., :-1, -1] * root).to(U.dtype).unsqueeze(-2)
        with torch.autocast(U.device.type, enabled=False):
            G = grad.to(U.dtype)
            GU = (G + G.mT) / 2 @ U
            A = U.mT @ GU
            T = U @ ((folded - null) * A) + GU * null
            if loewner.trace is not None:
                c = (loewner.trace[..., :-1] * A.diagonal(dim1=-2, dim2=-1)).sum(-1)
                T = T + U * (c[..., None] * root).to(U.dtype).unsqueeze(-2)
            grad_x = T @ V.mT * (2 / positions**0.5)
        return grad_x.to(grad.dtype), None
