"""The second derivative of a function of a covariance, in the factors of the features."""

from __future__ import annotations

import torch
from torch import Tensor

from gcp.features import eye_like
from gcp.spectral.loewner import shifted
from gcp.spectral.method import SpectralMethod


def covariance_curvature(
    w: Tensor, G: Tensor, U: Tensor, eigenvalues: Tensor, V: Tensor, method: SpectralMethod
) -> Tensor:
    """The derivative along w of dℓ/dx for a fixed G = dℓ/dZ, which is also the gradient of <w, dℓ/dx>: (B, C, N).

    Write X for Xc = U diag(sqrt lam) V^H, w for w centred and divided by sqrt(N), S = Df(P)[G], R = w X^H + X w^H. Then

        d/dX <w, 2 S X> = 2 (S w + Q X),   Q = D^2 f(P)[G, R],   Q_ij = sum_k f[i, k, j] (G_ik R_kj + R_ik G_kj),

    where the null space of P, of any dimension, counts as one more index whose blocks are C x n: nothing C x C is
    decomposed. R has no null-null block. That of G, G_00, comes with f'(0) in S and with f[0, 0, j] in Q, which may be
    infinite; but lam_j f[0, 0, j] = f[0, j] - f'(0), and of the terms with f'(0) only w outside the rows of X is left.
    Where f'(0) is infinite that share is dropped: a direction that raises the rank has no second derivative, and on
    centred features of rank C or N - 1 there is none. Where f is applied to P + (eps tr(P)/C) I, R and Q have the same
    share of their traces added.

    Args:
        w: (B, C, N).
        G: (B, C, C), symmetric or Hermitian.
        U, eigenvalues, V: of `factorise`.
        method: of an exact kernel.
    """
    function, channels, positions = method.function, U.shape[-2], V.shape[-2]
    root = eigenvalues.sqrt().unsqueeze(-2)
    levels = shifted(eigenvalues, channels, function)
    values, null = levels[..., :-1], levels[..., -1:]
    rows, columns, zero = values.unsqueeze(-1), values.unsqueeze(-2), null.unsqueeze(-1)
    loewner = method.loewner(eigenvalues, channels, positions)
    L, l0 = loewner.matrix[..., :-1, :-1], loewner.matrix[..., :-1, -1].unsqueeze(-2)
    slope = _finite(function.derivative(null)).unsqueeze(-1)  # f'(0)
    across = _finite(function.second_divided_difference(zero, rows, columns))  # f[0, k, j]

    w = (w - w.mean(-1, keepdim=True)) / positions**0.5
    GU = G @ U
    A = U.mH @ GU
    G0 = GU - U @ A
    wV = w @ V
    inside, B = U.mH @ wV, U.mH @ w
    w0, wV0 = w - U @ B, wV - U @ inside
    R, R0 = inside * root, wV0 * root
    R = R + R.mH
    share = function.relative_shift / channels
    tau = share * R.diagonal(dim1=-2, dim2=-1).sum(-1).real[..., None, None]
    R = R + tau * eye_like(R)

    M = function.second_product(values, A, R) + across * (G0.mH @ R0)
    Q = M + M.mH
    Q0 = G0 @ (across * R) + R0 @ (across * A)
    S0 = G0 * l0
    SwX = U @ ((L * A) @ B + S0.mH @ w) + S0 @ B
    # G_00, from its product with all that it is multiplied with
    outside = G @ (slope * (w0 - wV0 @ V.mH) + (wV0 * l0) @ V.mH)
    total = SwX + outside - U @ (U.mH @ outside)
    if share:
        twice = _finite(function.second_divided_difference(null, null, values)).unsqueeze(-2)  # f[0, 0, j]
        Q0 = Q0 + tau * twice * G0
        thrice = _finite(function.second_derivative(null)).unsqueeze(-1) / 2  # f[0, 0, 0]
        rest = (G.diagonal(dim1=-2, dim2=-1).sum(-1) - A.diagonal(dim1=-2, dim2=-1).sum(-1)).real[..., None, None]
        trace = Q.diagonal(dim1=-2, dim2=-1).sum(-1).real[..., None, None]
        trace = trace + 2 * (twice * G0.conj() * R0).sum((-2, -1), keepdim=True).real + 2 * thrice * tau * rest
        Q = Q + share * trace * eye_like(Q)
    if loewner.trace is not None:
        total = total + loewner.trace_coefficient(A, G)[..., None, None] * w
    result: Tensor = 2 * (total + ((U @ Q + Q0) * root) @ V.mH) / positions**0.5
    return result


def _finite(weights: Tensor) -> Tensor:
    return torch.where(weights.isfinite(), weights, 0)
