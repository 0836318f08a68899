"""The classical covariance pooling layers, freshly written: what a spectral layer costs when written down as derived.

Everything runs in float64. P = X Ibar X^T with an N x N centring matrix; dense SVD of the C x C covariance, on the CPU,
one matrix after the other; diagonal matrices multiplied as matrices. Decomposition and square root are separate
autograd Functions, so that the gradient passes through the eigenvectors. The amount of work is that of the published
layers; their mistakes, listed in the design notes, are not repeated. Where it is not known what they keep for the
backward, this keeps the least.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from benchmarks.baselines import quotients
from benchmarks.baselines.covariance import ClassicalCovariance
from benchmarks.baselines.newton_schulz import differentiate, iterate
from benchmarks.baselines.triangle import ClassicalTriangle

EigenvectorGradient = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(B = U^T dℓ/dU, eigenvalues, U^T P U or none) to the matrix between U and U^T in dℓ/dP; the diagonal stays 0."""


def dense_svd(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvectors (B, C, C) and eigenvalues (B, C), descending, by the SVD on the CPU."""
    U, eigenvalues, _ = torch.linalg.svd(covariance.cpu())
    return U.to(covariance.device), eigenvalues.to(covariance.device)


def by_quotient(quotient: Callable[[Tensor], Tensor]) -> EigenvectorGradient:
    """The eigenvector gradient K^T o (U^T dℓ/dU)."""

    def gradient(rotated: Tensor, eigenvalues: Tensor, covariance: Tensor | None) -> Tensor:
        return quotient(eigenvalues).mT * rotated

    return gradient


def by_power_iteration(rotated: Tensor, eigenvalues: Tensor, covariance: Tensor | None, iterations: int = 19) -> Tensor:
    """Gradient of power iteration with deflation (arXiv 1906.09023), all eigenvectors at once.

    A product with the covariance per iteration, in the eigenbasis; the mask deflates. An eigenvector's component along
    an earlier one (above the diagonal) comes from the deflation, one iteration short of that along a later one.
    """
    assert covariance is not None
    later = rotated.tril(-1)
    change = later - rotated.triu(1).mT
    scale = eigenvalues.diag_embed()
    scale = quotients.repair(1 / scale) * (scale != 0)
    gradient = later.bmm(scale)
    change = change.bmm(scale)
    for _ in range(iterations):
        gradient = change + covariance.bmm(gradient).tril(-1) / eigenvalues.unsqueeze(-2)
        gradient = quotients.repair(gradient)
    return gradient


class Decomposition(torch.autograd.Function):
    """P (B, C, C) to eigenvectors and diagonal matrix of eigenvalues, of which all but ``kept`` are set to 0."""

    @staticmethod
    def forward(
        ctx: Any, covariance: Tensor, gradient: EigenvectorGradient, kept: int | None, iterative: bool
    ) -> tuple[Tensor, Tensor]:
        """Dense SVD; ``iterative`` gradients get to see the covariance again."""
        U, eigenvalues = dense_svd(covariance)
        if kept is not None:
            eigenvalues[:, kept:] = 0
        ctx.gradient = gradient
        ctx.save_for_backward(U, eigenvalues, *([covariance] if iterative else []))
        return U, eigenvalues.diag_embed()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_U: Tensor, grad_eigenvalues: Tensor) -> tuple[Tensor | None, ...]:
        """dℓ/dP = sym(U (K^T o (U^T dℓ/dU) + diag(dℓ/dlam)) U^T)."""
        U, eigenvalues, *kept_covariance = ctx.saved_tensors
        rotated_covariance = U.mT.bmm(kept_covariance[0]).bmm(U) if kept_covariance else None
        inner = ctx.gradient(U.mT.bmm(grad_U), eigenvalues, rotated_covariance)
        inner = inner + grad_eigenvalues.diagonal(dim1=-2, dim2=-1).diag_embed()
        grad = U.bmm(inner).bmm(U.mT)
        return (grad + grad.mT) / 2, None, None, None


class SquareRoot(torch.autograd.Function):
    """U diag(sqrt lam) U^T from eigenvectors and eigenvalues."""

    @staticmethod
    def forward(ctx: Any, U: Tensor, diagonal: Tensor) -> Tensor:
        """Two products."""
        ctx.save_for_backward(U, diagonal.diagonal(dim1=-2, dim2=-1).clone())
        return U.bmm(diagonal.sqrt()).bmm(U.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """dℓ/dU = (G + G^T) U diag(sqrt lam), dℓ/dlam = diag(U^T G U)/(2 sqrt lam), 0 where lam = 0."""
        U, eigenvalues = ctx.saved_tensors
        root = eigenvalues.sqrt()
        inverse = torch.where(root == 0, 0, 0.5 / root).diag_embed()
        grad_U = (grad + grad.mT).bmm(U).bmm(root.diag_embed())
        grad_eigenvalues = inverse.bmm(U.mT).bmm(grad).bmm(U)
        return grad_U, grad_eigenvalues


class NewtonBackwardRoot(torch.autograd.Function):
    """Square root by SVD, gradient of Newton-Schulz iterations in matrices, which run in the backward."""

    @staticmethod
    def forward(ctx: Any, covariance: Tensor, steps: int) -> Tensor:
        """Dense SVD and two products; keeps the covariance."""
        ctx.steps = steps
        ctx.save_for_backward(covariance)
        U, eigenvalues = dense_svd(covariance)
        return U.bmm(eigenvalues.sqrt().diag_embed()).bmm(U.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Iterate, then back through the iterates."""
        (covariance,) = ctx.saved_tensors
        return differentiate(iterate(covariance, ctx.steps), grad), None


class LyapunovRoot(torch.autograd.Function):
    """Square root by SVD, gradient by the Lyapunov equation Z S + S Z = G (arXiv 1707.06772)."""

    @staticmethod
    def forward(ctx: Any, covariance: Tensor) -> Tensor:
        """Dense SVD and two products."""
        U, eigenvalues = dense_svd(covariance)
        root = eigenvalues.sqrt()
        ctx.save_for_backward(U, root)
        return U.bmm(root.diag_embed()).bmm(U.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """U ((U^T sym(G) U)/(sqrt lam_i + sqrt lam_j)) U^T."""
        U, root = ctx.saved_tensors
        total = root.unsqueeze(-1) + root.unsqueeze(-2)
        inverse = torch.where(total == 0, 0, 1 / total)
        grad_P: Tensor = U.bmm(inverse * U.mT.bmm((grad + grad.mT) / 2).bmm(U)).bmm(U.mT)
        return grad_P


def _through_eigenvectors(
    gradient: EigenvectorGradient, fraction: float | None = None, iterative: bool = False
) -> Callable[[Tensor], Tensor]:
    def square_root(covariance: Tensor) -> Tensor:
        kept = None if fraction is None else max(1, round(fraction * covariance.shape[-1]))
        root: Tensor = SquareRoot.apply(*Decomposition.apply(covariance, gradient, kept, iterative))
        return root

    return square_root


CLASSICAL_ROOTS: dict[str, Callable[[Tensor], Tensor]] = {
    "original": _through_eigenvectors(by_quotient(quotients.original)),
    "trunc": _through_eigenvectors(by_quotient(quotients.trunc)),
    "topn": _through_eigenvectors(by_quotient(quotients.original), fraction=206 / 256),
    "taylor": _through_eigenvectors(by_quotient(quotients.taylor)),
    "pade": _through_eigenvectors(by_quotient(quotients.pade)),
    "pi": _through_eigenvectors(by_power_iteration, iterative=True),
    "newton": lambda covariance: NewtonBackwardRoot.apply(covariance, 10),
    "lyapunov": LyapunovRoot.apply,
}
"""Square root of a covariance (B, C, C) with the backward of each method, by the method's name."""


class ClassicalPooling(nn.Module):
    """(B, C, H, W) to (B, C (C + 1)/2) in float64, with the backward of ``method``."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.square_root = CLASSICAL_ROOTS[method]

    def forward(self, features: Tensor) -> Tensor:
        """Covariance, square root, triangle."""
        covariance = ClassicalCovariance.apply(features.flatten(2).to(torch.float64))
        vector: Tensor = ClassicalTriangle.apply(self.square_root(covariance)).to(features.dtype)
        return vector
