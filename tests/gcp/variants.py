"""Every layer of the registry with every choice that takes another branch: what the rules for all layers run over."""

from __future__ import annotations

from dataclasses import fields
from itertools import product

from torch import nn

from gcp.methods import METHODS, list_methods
from gcp.options import option_names
from gcp.pooling.factory import create_pooling

Variant = tuple[str, dict[str, object]]
# the vector's form and the classifier's map are affine, what becomes of NaN is tested where NaN is, and how covariances
# are estimated and decomposed on its own
LEFT_OUT = ("vectorisation", "classifier_map", "nonfinite", "centred", "ledoit_wolf", "solver")


def variants() -> list[Variant]:
    """Name and options: each choice on its own, and each kernel with each truth value."""
    found: list[Variant] = []
    for name in list_methods():
        choices = {
            field.name: field.metadata["choices"] or (False, True)
            for field in fields(METHODS.get(name).options)
            if (field.metadata["choices"] or field.type in ("bool", bool)) and field.name not in LEFT_OUT
        }
        found.append((name, {}))
        found += [(name, {option: value}) for option, values in choices.items() for value in values]
        branches = {option: values for option, values in choices.items() if option not in ("precision", "path")}
        if len(branches) > 1:
            found += [(name, dict(zip(branches, values, strict=True))) for values in product(*branches.values())]
    unique = {label((name, options)): (name, options) for name, options in found}
    return list(unique.values())


def label(variant: Variant) -> str:
    name, options = variant
    return " ".join([name, *(f"{option}={value}" for option, value in sorted(options.items()))])


def layer(variant: Variant, channels: int, **changes: object) -> nn.Module:
    """The layer as in evaluation, where nothing is left to chance.

    ``changes``: for those of its options that it has, where the variant does not set them.
    """
    name, options = variant
    known = option_names(METHODS.get(name).options)
    return create_pooling(
        name, channels, **{option: value for option, value in changes.items() if option in known} | options
    ).eval()
