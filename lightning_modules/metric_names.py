"""Names of metrics, each in one place: what loggers write, dashboards show and reports read. Free of torch.

Sections: train/, val/, test/, spectrum/ (eigenvalues of the covariances), grad/ (gradients of the pooling layer) and
time/.
"""

from __future__ import annotations

TRAIN, VAL, TEST = "train", "val", "test"
TEST_FINAL = "test_final"  # the last epoch's weights, where others are the best
STAGES = (TRAIN, VAL, TEST, TEST_FINAL)
LOSS, ACCURACY, ACCURACY_5 = "loss", "acc1", "acc5"
LOSS_STEP, LOSS_EPOCH = f"{LOSS}_step", f"{LOSS}_epoch"  # of training, where Lightning tells a step's from the mean
RESULTS = (ACCURACY, ACCURACY_5, LOSS)
BALANCED_ACCURACY, MACRO_F1 = "balanced_acc", "macro_f1"  # of unbalanced data, see training.balanced_metrics
BALANCED = (BALANCED_ACCURACY, MACRO_F1)
CLASS_ACCURACY = "class_acc"  # in summary.json, by class, with those


def of(stage: str, metric: str) -> str:
    """ "val/acc1" of "val" and "acc1"."""
    return f"{stage}/{metric}"


def is_training(name: str) -> bool:
    """Whether the metric is one of training, known at the end of an epoch."""
    return name.startswith(f"{TRAIN}/")


# What can decide which checkpoint is best: known once an epoch.
MONITORED = tuple(of(stage, metric) for stage in (VAL, TRAIN) for metric in RESULTS)
MONITORED_BALANCED = tuple(of(stage, metric) for stage in (VAL, TRAIN) for metric in BALANCED)
TRAIN_LOSS = of(TRAIN, LOSS_EPOCH)
VAL_ACCURACY, VAL_LOSS = of(VAL, ACCURACY), of(VAL, LOSS)
TEST_ACCURACY, TEST_ACCURACY_5, TEST_LOSS = (of(TEST, metric) for metric in RESULTS)
TEST_BALANCED_ACCURACY, TEST_MACRO_F1 = (of(TEST, metric) for metric in BALANCED)
FINAL_TEST_ACCURACY = of(TEST_FINAL, ACCURACY)

# In summary.json: of the last validation, of the best checkpoint, and what callbacks decided.
FINAL_VAL_ACCURACY = f"final/{VAL_ACCURACY}"
BEST_VAL_ACCURACY = f"best/{VAL_ACCURACY}"
BEST_EPOCH = "best/epoch"
SWITCH_EPOCH, SWITCH_STEP, SWITCH_CONDITION = "switch/epoch", "switch/step", "switch/condition"
SWA_EPOCHS = "swa/epochs"
STOPPED_EPOCH = "early_stopping/epoch"
STOPPED_REASON = "early_stopping/reason"
PRUNED_EPOCH = "search/pruned_epoch"

CONFUSION = "test/confusion_matrix"  # a picture
SPECTRUM_SECTION = "spectrum"  # with a name for each field of `SpectrumStatistics`
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
OPTIMAL_RATE = "grad/optimal_rate"  # the learning rate of the layer before the covariance

EPOCH_SECONDS = "time/epoch_seconds"
IMAGES_PER_SECOND = "time/images_per_second"

SPECTRUM = (CONDITION, EFFECTIVE_RANK, NULL, TIED, NEAR_TIED, SMALLEST_GAP, LARGEST_K)
GRADIENT = (GRAD_INTO_LAYER, GRAD_OUT_OF_LAYER, GRAD_ERROR, SMOOTHNESS, OPTIMAL_RATE)
FEATURES_SECONDS = "time/features_seconds"  # in summary.json: of training.features_once
TIME = (EPOCH_SECONDS, IMAGES_PER_SECOND)
