"""PyTorch's own sample inputs for linalg.eigh, eigvalsh, svd and svdvals, run through ours: values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import gcp
from gcp.errors import DerivativeError

OPERATORS = ("linalg.eigh", "linalg.eigvalsh", "linalg.svd", "linalg.svdvals")
# What torch gives a gradient of and we refuse: the thin part of full_matrices=True of matrices that are not square.
REFUSED = "full_matrices"


def operators() -> dict[str, object]:
    from torch.testing._internal.common_methods_invocations import op_db

    return {op.name: op for op in op_db if op.name in OPERATORS and not op.variant_test_name}


def flat(result: object) -> list[Tensor]:
    return list(result) if isinstance(result, tuple) else [result]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128], ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_samples(name, dtype):
    """Values to rounding; gradients of magnitudes, which have no phase, where torch's are finite and values apart."""
    operator = operators()[name]
    function = getattr(gcp.linalg, name.partition(".")[2])
    options = {"gauge": "ignore", "method": "pade"} if name in ("linalg.eigh", "linalg.svd") else {}
    ran = refused = 0
    tolerance = 1e3 * torch.finfo(dtype).eps
    for sample in operator.sample_inputs("cpu", dtype, requires_grad=True):
        arguments, kwargs = sample.args, dict(sample.kwargs)
        full = name == "linalg.svd" and kwargs.get("full_matrices", arguments[0] if arguments else True)
        if name == "linalg.svd":
            arguments, kwargs["full_matrices"] = (), full
        ours, theirs = (sample.input.detach().clone().requires_grad_() for _ in range(2))
        expected = flat(operator.op(theirs, *arguments, **kwargs))
        found = flat(function(ours, *arguments, **kwargs, **options))
        ran += 1
        for mine, other in zip(found, expected, strict=True):
            assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
            scale = float(other.detach().abs().max()) if other.numel() else 1.0
            torch.testing.assert_close(mine.abs(), other.abs(), rtol=tolerance, atol=max(scale, 1.0) * 30 * tolerance)
        if full and ours.shape[-1] != ours.shape[-2]:
            refused += 1
            with pytest.raises(DerivativeError, match=REFUSED):
                found[1].sum().backward()
            continue
        if not ours.numel():
            continue
        for result in (found, expected):
            sum(((part.abs() ** 3).sum() for part in result), torch.zeros(())).backward()
        largest = float(theirs.grad.abs().max())
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e3 * tolerance * max(largest, 1.0))
    assert ran > 3
    assert refused < ran
