"""Options of ``mode=export``. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from gcp.options import Options, option


@dataclass(frozen=True)
class ExportOptions(Options):
    """What ``mode=export`` writes."""

    format: str = option(
        "torch",
        "torch: model.pt2 (torch.export), every method; onnx: model.onnx, methods without a decomposition; both",
        choices=("torch", "onnx", "both"),
    )
