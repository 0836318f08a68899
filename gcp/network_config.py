"""What a network of `gcp.create_model` is built from, in plain values. Free of torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class NetworkConfig:
    """The arguments of `gcp.create_model`, with what they left to defaults, and without the weights it started from.

    Attributes:
        backbone: name of the backbone.
        method: name of the pooling method.
        num_classes: number of logits.
        reduced_channels: channels after the reduction; None: there is none.
        hidden: widths of the classifier's hidden layers.
        class_token: what becomes of the class token.
        backbone_options: the backbone's own that were given.
        method_options: the method's own that were given.
    """

    backbone: str
    method: str
    num_classes: int
    reduced_channels: int | None
    hidden: list[int] = field(default_factory=list)
    class_token: str | None = None
    backbone_options: dict[str, Any] = field(default_factory=dict)
    method_options: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As a dictionary; ``NetworkConfig(**plain)`` is the same again."""
        return asdict(self)
