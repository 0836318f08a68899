"""Key layouts of published checkpoints, and what their keys are called here."""

from __future__ import annotations

from collections.abc import Sequence

# Beginnings of keys: the reference's (DifferentiableSVD), its parent project's (fast-MPN-COV), and our own runs'.
PREFIXES = {
    "representation.conv_dr_block.": "representation.reduction.",
    "layer_reduce.": "representation.reduction.0.",
    "layer_reduce_bn.": "representation.reduction.1.",
    "fc.": "classifier.",
    "model.": "",
}


def our_key(key: str, original_names: Sequence[str] = ()) -> str:
    """What a key of a published checkpoint, without ``module.``, is called in our networks.

    Args:
        key: of any of the layouts; ours stays as it is.
        original_names: the backbone's children as its original calls them ("conv1", "layer1"), which the parent project
            writes at the top level.
    """
    for prefix, ours in PREFIXES.items():
        if key.startswith(prefix):
            return ours + key.removeprefix(prefix)
    first, _, rest = key.partition(".")
    if first in original_names:
        return f"features.{list(original_names).index(first)}.{rest}"
    return key
