"""Compact bilinear pooling; the layer is `gcp.pooling.compact_bilinear`."""

from dataclasses import dataclass

from gcp.methods.bilinear import EPS_HELP
from gcp.methods.table import register_method
from gcp.options import LARGEST_SEED, Options, option


@dataclass(frozen=True)
class CompactBilinearOptions(Options):
    """Options of `compact_bilinear`."""

    dimension: int = option(8192, "length of the sketch", minimum=1)
    seed: int = option(0, "seed of the hash functions, which are part of the state", minimum=0, maximum=LARGEST_SEED)
    eps: float = option(1e-8, EPS_HELP, above=0)


register_method(
    "compact_bilinear",
    options=CompactBilinearOptions,
    layer="gcp.pooling.compact_bilinear:CompactBilinearPooling",
    reduced_channels=None,
    summary="bilinear pooling as a tensor sketch of fixed length",
    source="Gao et al., CVPR 2016 (arXiv 1511.06062)",
)
