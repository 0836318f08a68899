"""``model.onnx``: the network for runtimes that know nothing of torch, for any batch size."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from gcp.errors import ExportError, MissingDependencyError, first_line

FILE = "model.onnx"
EXTRA = "install the extra: pip install '.[onnx]'"


def check(method: str, decomposes: bool) -> None:
    """Refuse what is known to fail before anything is traced.

    Args:
        method: name of the pooling method.
        decomposes: whether it has a kernel, that is, works on an eigendecomposition.

    Raises:
        ExportError: ONNX has no eigendecomposition.
        MissingDependencyError: onnx or onnxscript is not installed.
    """
    if decomposes:
        raise ExportError(
            f"the method '{method}' decomposes matrices, and ONNX has no operator for that; use export.format=torch, "
            "or train with a method made of matrix products"
        )
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(f"export to ONNX needs {' and '.join(missing)}; {EXTRA}")


def write(model: nn.Module, images: Tensor, path: Path) -> None:
    """Convert ``model``, traced on ``images`` (2 or more, the number stays free).

    Raises ExportError if the network has an operator that ONNX does not.
    """
    try:
        with torch.no_grad():
            torch.onnx.export(
                model,
                (images,),
                path,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                input_names=["images"],
                output_names=["logits"],
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        operator = re.search(r"OpOverload\(op='([\w.]+)'", str(error))
        reason = f"it has no operator for {operator.group(1)}" if operator else first_line(error)
        raise ExportError(f"the network cannot be written as ONNX: {reason}; use export.format=torch") from error


def load(path: Path) -> Callable[[Tensor], Tensor] | None:
    """The file in onnxruntime as a function of images; None if that is not installed."""
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
