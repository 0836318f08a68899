"""What decompositions are used for: by gcp.linalg, and by torch.linalg with autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import gcp
from benchmarks.baselines.plain import by_eigh
from benchmarks.degenerate import Case, Function, Task

CLUSTERS = tuple(10.0**-k for k in range(3, 16))
EIGENVALUES = (
    (2.0, -1.0, 0.5, 0.1), (1.0, 1.0, 1.0, 1.0), (3.0, 0.0, 0.0, 0.0), (2.0, 2.0, -1.0, -1.0), (2.0, -2.0, 2.0, -2.0),
    (0.0, 0.0, 0.0, 0.0), *((2.0, 2.0 - gap, 0.5, 0.5 - gap) for gap in CLUSTERS),
)  # fmt: skip
POSITIVE = tuple(values for values in EIGENVALUES if min(values) > 0)
LAST_ALONE = ((2.0, -1.0, 0.5, 0.1), (3.0, 3.0, 3.0, 0.0), *((2.0, 2.0 - gap, 2.0, 0.5) for gap in CLUSTERS))
SINGULAR_VALUES = (
    (3.0, 2.0, 0.5), (1.0, 1.0, 1.0), (2.0, 2.0, 0.5), *((2.0, 2.0 - gap, 0.5) for gap in CLUSTERS),
)  # fmt: skip
NULL = ((2.0, 2.0, 0.0), (2.0, 0.0, 0.0), (0.0, 0.0, 0.0))
ONE_NULL = (2.0, 2.0, 0.0)
RECTANGULAR = ((3, 3), (5, 3), (3, 5))
REAL = (torch.float32, torch.float64)
SQRTH = getattr(torch.linalg, "matrix_sqrth", None)  # since torch 2.14
METHODS = ("taylor", "pade", "original", "lorentz", "trunc", "pi")
APPROXIMATE = ("lorentz", "trunc", "pi")  # on purpose; of topn a part of the vectors has no gradient


def projectors(eigh: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Function:
    """Onto each group's eigenspace, (groups, n, n)."""

    def function(A: Tensor, case: Case) -> Tensor:
        U = eigh(A)[1]
        return torch.stack([U[:, group] @ U[:, group].mH for group in map(list, case.groups)])

    return function


def sums(values: Callable[[Tensor], Tensor]) -> Function:
    """Of each group's values, (groups,)."""
    return lambda A, case: torch.stack([values(A)[list(group)].sum() for group in case.groups])


def parts(svd: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]) -> Function:
    """U V^H of each group, (groups, m, n)."""

    def function(A: Tensor, case: Case) -> Tensor:
        U, _, Vh = svd(A)
        return torch.stack([U[:, group] @ Vh[group] for group in map(list, case.groups)])

    return function


def thin(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.linalg.svd` without what has no gradient."""
    U, s, Vh = torch.linalg.svd(A, full_matrices=False)
    return U, s, Vh


def of_singular_values(f: Callable[[Tensor, float], Tensor]) -> Function:
    """U f(S) V^H; f gets the scale, too."""

    def function(A: Tensor, case: Case) -> Tensor:
        U, s, Vh = thin(A)
        result: Tensor = (U * f(s, case.scale).to(U.dtype)) @ Vh
        return result

    return function


def by_eigenprojector(A: Tensor, case: Case) -> Tensor:
    """Those of `projectors`, without eigenvectors: differences of projectors onto the smallest."""
    ends = [0, *(group[-1] + 1 for group in case.groups)]
    onto = [gcp.linalg.eigenprojector(A, end, largest=False) for end in ends]
    return torch.stack([onto[k + 1] - onto[k] for k in range(len(case.groups))])


def of_matrix(function: Callable[[Tensor], Tensor]) -> Function:
    """``function``, whatever the case."""
    return lambda A, case: function(A)


def last_vector(A: Tensor, case: Case) -> Tensor:
    """The eigenvector of the smallest eigenvalue, its largest entry positive."""
    v = torch.linalg.eigh(A)[1][:, 0]
    largest = v[v.detach().abs().argmax()]
    result: Tensor = v * (largest.conj() / largest.abs())
    return result


def kabsch(A: Tensor, case: Case) -> Tensor:
    """The nearest rotation, as it is usually written."""
    U, _, Vh = torch.linalg.svd(A)
    sign = torch.linalg.det(U @ Vh).detach()
    result: Tensor = (U * torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign])) @ Vh
    return result


def centred(A: Tensor) -> Tensor:
    """Features (C, N + 1), centred, of the same covariance up to a factor as A (C, N) has second moments."""
    N = A.shape[-1]
    mean = torch.full((N + 1, 1), (N + 1) ** -0.5, dtype=A.dtype)
    basis = torch.linalg.qr(torch.cat([mean, torch.eye(N + 1, N, dtype=A.dtype)], 1))[0][:, 1:]
    features: Tensor = A @ basis.mT
    return features


def components(pca: Callable[[Tensor, int], Tensor]) -> Function:
    """Projectors onto the principal components of each group, of features `centred`."""

    def function(A: Tensor, case: Case) -> Tensor:
        U = pca(centred(A), min(A.shape))
        return torch.stack([U[:, group] @ U[:, group].mT for group in map(list, case.groups)])

    return function


def by_covariance(x: Tensor, k: int) -> Tensor:
    """Principal components by torch.linalg."""
    descending: Tensor = torch.linalg.eigh(x @ x.mT / x.shape[-1])[1].flip(-1)
    return descending[:, :k]


def by_pca(method: str) -> Callable[[Tensor, int], Tensor]:
    """Principal components by gcp."""
    return lambda x, k: gcp.linalg.pca(x.unsqueeze(0), k, method, gauge="raise").components[0]


def soft_threshold(A: Tensor, case: Case) -> Tensor:
    """Singular values lowered."""
    return gcp.linalg.singular_function(A, "soft_threshold", threshold=1.25 * case.scale)


def _eigh(method: str) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    return lambda A: gcp.linalg.eigh(A, method=method, gauge="raise")


def _svd(method: str) -> Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]:
    return lambda A: gcp.linalg.svd(A, method=method, gauge="raise")


TASKS = (
    Task(
        "projectors onto eigenspaces",
        {"eigenprojector": by_eigenprojector} | {f"eigh, {name}": projectors(_eigh(name)) for name in METHODS},
        {"torch.linalg.eigh": projectors(torch.linalg.eigh)},
        EIGENVALUES,
    ),
    Task(
        "sums of equal eigenvalues",
        {"eigvalsh": sums(gcp.linalg.eigvalsh)},
        {"torch.linalg.eigvalsh": sums(torch.linalg.eigvalsh)},
        EIGENVALUES,
        degree=1,
    ),
    Task(
        "eigenvector of the smallest eigenvalue",
        {"smallest_eigenvector": of_matrix(gcp.linalg.smallest_eigenvector)},
        {"torch.linalg.eigh": last_vector},
        LAST_ALONE,
    ),
    Task(
        "square root",
        {"gcp.spectral_function": lambda A, case: gcp.spectral_function(A, "sqrt", "lyapunov")},
        {"torch.linalg.eigh": of_matrix(by_eigh)}
        | ({} if SQRTH is None else {"torch.linalg.matrix_sqrth": of_matrix(SQRTH)}),
        POSITIVE,
        degree=0.5,
        dtypes=REAL,
    ),
    Task(
        "principal components",
        {f"pca, {name}": components(by_pca(name)) for name in METHODS},
        {"torch.linalg.eigh": components(by_covariance)},
        SINGULAR_VALUES,
        shapes=((3, 5), (5, 3)),
        hermitian=False,
        dtypes=REAL,
    ),
    Task(
        "U V^H of equal singular values",
        {f"svd, {name}": parts(_svd(name)) for name in METHODS},
        {"torch.linalg.svd": parts(thin)},
        SINGULAR_VALUES,
        RECTANGULAR,
        hermitian=False,
    ),
    Task(
        "sums of equal singular values",
        {"svdvals": sums(gcp.linalg.svdvals)},
        {"torch.linalg.svdvals": sums(torch.linalg.svdvals)},
        SINGULAR_VALUES,
        RECTANGULAR,
        degree=1,
        hermitian=False,
    ),
    Task(
        "polar factor",
        {"polar": of_matrix(gcp.linalg.polar)},
        {"torch.linalg.svd": of_singular_values(lambda s, scale: torch.ones_like(s))},
        SINGULAR_VALUES,
        RECTANGULAR,
        hermitian=False,
    ),
    Task(
        "nearest rotation",
        {"nearest_rotation": of_matrix(gcp.linalg.nearest_rotation)},
        {"torch.linalg.svd": kabsch},
        (*SINGULAR_VALUES, ONE_NULL),
        ((3, 3),),
        hermitian=False,
        dtypes=REAL,
    ),
    Task(
        "power normalisation",
        {"singular_function": lambda A, case: gcp.linalg.singular_function(A, "power", alpha=0.5)},
        {"torch.linalg.svd": of_singular_values(lambda s, scale: s.sqrt())},
        SINGULAR_VALUES,
        RECTANGULAR,
        degree=0.5,
        hermitian=False,
    ),
    Task(
        "soft threshold",
        {"singular_function": soft_threshold},
        {"torch.linalg.svd": of_singular_values(lambda s, scale: (s - 1.25 * scale).clamp(min=0))},
        (*SINGULAR_VALUES, *NULL),
        RECTANGULAR,
        degree=1,
        hermitian=False,
    ),
)
