"""Names of metrics, each in one place: what loggers write, dashboards show and reports read. Free of torch.

Sections: train/, val/, test/, spectrum/ (eigenvalues of the covariances), grad/ (gradients of the pooling layer) and
time/.
"""

from __future__ import annotations

STAGES = ("train", "val", "test")
LOSS, ACCURACY, ACCURACY_5 = "loss", "acc1", "acc5"
# What can decide which checkpoint is best: known once an epoch.
MONITORED = tuple(f"{stage}/{metric}" for stage in ("val", "train") for metric in (ACCURACY, ACCURACY_5, LOSS))

CONFUSION = "test/confusion_matrix"  # a picture
CONDITION = "spectrum/condition"
EFFECTIVE_RANK = "spectrum/effective_rank"
NULL = "spectrum/null"
TIED = "spectrum/tied"
NEAR_TIED = "spectrum/near_tied"
SMALLEST_GAP = "spectrum/smallest_gap"
LARGEST_K = "spectrum/largest_k"
EIGENVALUES = "spectrum/eigenvalues"  # a histogram, of log10(lam/lam_max)

GRAD_INTO_LAYER = "grad/into_layer"
GRAD_OUT_OF_LAYER = "grad/out_of_layer"
GRAD_ERROR = "grad/error_vs_exact"
SMOOTHNESS = "grad/beta_smoothness"

EPOCH_SECONDS = "time/epoch_seconds"
IMAGES_PER_SECOND = "time/images_per_second"

SPECTRUM = (CONDITION, EFFECTIVE_RANK, NULL, TIED, NEAR_TIED, SMALLEST_GAP, LARGEST_K)
GRADIENT = (GRAD_INTO_LAYER, GRAD_OUT_OF_LAYER, GRAD_ERROR, SMOOTHNESS)
TIME = (EPOCH_SECONDS, IMAGES_PER_SECOND)


def of(stage: str, metric: str) -> str:
    """ "val/acc1" of "val" and "acc1"."""
    return f"{stage}/{metric}"
