"""The model card: method, data, metrics and preprocessing of a network, for people and for the Hub's search."""

from __future__ import annotations

import json
from typing import Any

from gcp.backbones.registry import BACKBONES
from gcp.methods import METHODS
from gcp.network_config import NetworkConfig

SHOWN = 20  # class names that are listed
USAGE = """```python
import gcp

model = gcp.from_pretrained("FOLDER")  # or the name of the repository, owner/name
logits = model(images)  # (B, 3, H, W), prepared as said above
```"""


def card(network: NetworkConfig, parameters: int, facts: dict[str, Any]) -> str:
    """The text of README.md, with its head for the Hub (YAML, of which JSON is a part).

    Args:
        network: what the network is built from.
        parameters: how many it has.
        facts: what is known of it.
    """
    method, backbone = METHODS.get(network.method), BACKBONES.get(network.backbone)
    data, metrics = facts.get("data", {}), facts.get("metrics", {})
    name = f"{network.backbone_options.get('model', network.backbone)} with {network.method} pooling"
    rows = {
        "backbone": f"{network.backbone}: {backbone.summary} ({backbone.source})",
        "backbone's options": _written(network.backbone_options),
        "pooling method": f"{network.method}: {method.summary} ({method.source})",
        "method's options": _written(network.method_options),
        "channels after reduction": network.reduced_channels or "not reduced",
        "classes": network.num_classes,
        "parameters": f"{parameters:,}",
    }
    parts = [
        _head(network.method, data, metrics, name),
        f"# {name}",
        "Image classification with global covariance pooling and a differentiable spectral layer, by "
        "[gcp-lightning](https://pypi.org/project/gcp-lightning/).",
        _table(rows),
        "## Data",
        _table(data) if data else "Not said.",
        "## Metrics",
        _table(metrics) if metrics else "Not said.",
        "## Preprocessing",
        _preprocessing(facts.get("preprocessing", {})),
        "## Use",
        USAGE,
    ]
    return "\n\n".join(parts) + "\n"


def _head(method: str, data: dict[str, Any], metrics: dict[str, Any], name: str) -> str:
    lines: dict[str, Any] = {
        "library_name": "gcp-lightning",
        "pipeline_tag": "image-classification",
        "tags": ["global-covariance-pooling", "image-classification", method],
    }
    numbers = {key: value for key, value in metrics.items() if isinstance(value, (int, float))}
    if "name" in data and numbers:
        results = [{"type": key, "name": key, "value": value} for key, value in numbers.items()]
        task, dataset = {"type": "image-classification"}, {"type": data["name"], "name": data["name"]}
        lines["model-index"] = [
            {"name": name, "results": [{"task": task, "dataset": dataset, "metrics": results}]},
        ]
    return "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in lines.items()), "---"])


def _preprocessing(facts: dict[str, Any]) -> str:
    if not facts:
        return "Not said."
    names = facts.get("class_names") or []
    rows = {key: value for key, value in facts.items() if key != "class_names"}
    listed = ", ".join(map(str, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
    return _table({**rows, "classes": listed} if names else rows)


def _table(rows: dict[str, Any]) -> str:
    cells = [f"| {_cell(key)} | {_cell(value)} |" for key, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *cells])


def _cell(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", "\\|").split())


def _written(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items()) or "defaults"
