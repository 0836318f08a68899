"""The metrics of a stage, by name."""

from __future__ import annotations

from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassStatScores

from lightning_modules import metric_names as names


class BalancedAccuracy(MulticlassStatScores):
    """The mean over classes of each one's accuracy; classes that do not occur are left out, as scikit-learn does.

    Attributes:
        by_class: accuracies (K,) when it was last computed, NaN where a class did not occur; None before.
    """

    higher_is_better = True
    by_class: Tensor | None = None

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="none")

    def compute(self) -> Tensor:
        """The mean, over all devices."""
        counts = super().compute()  # (K, 5): true and false positives and negatives, number of images
        self.by_class = counts[:, 0].double() / counts[:, 4]
        mean: Tensor = self.by_class.nanmean().float()
        return mean


def accuracies(num_classes: int, balanced: bool) -> MetricCollection:
    """Top-1 and top-5 accuracy; if ``balanced``, also the mean over classes and the macro F1 score."""
    counted = {names.ACCURACY: 1, names.ACCURACY_5: min(5, num_classes)}
    chosen: dict[str, Metric | MetricCollection] = {
        name: MulticlassAccuracy(num_classes, top_k=k, average="micro") for name, k in counted.items()
    }
    if balanced:
        chosen[names.BALANCED_ACCURACY] = BalancedAccuracy(num_classes)
        chosen[names.MACRO_F1] = MulticlassF1Score(num_classes, average="macro")
    # Metrics whose first batches agree by chance would share their counts in a group.
    return MetricCollection(chosen, compute_groups=False)
