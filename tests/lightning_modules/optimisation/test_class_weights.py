"""Weights of classes: torch's own where that agrees, the definition where labels are mixed or smoothed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gcp.errors import DataError, OptionError
from lightning_modules.optimisation.class_weights import WeightedCrossEntropy, resolved_weights, unbalanced
from lightning_modules.settings.training import TrainingOptions

WEIGHTS = [0.5, 2.0, 1.0, 4.0]


def example(batch: int = 6):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(4, (batch,), generator=generator), torch.rand(batch, 4, generator=generator).double()


def test_labels_without_smoothing_are_torchs():
    logits, labels, _ = example()
    expected = F.cross_entropy(logits, labels, torch.tensor(WEIGHTS, dtype=torch.float64))
    assert WeightedCrossEntropy(WEIGHTS)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mixed", [False, True])
def test_equal_weights_of_any_size_are_none(smoothing, mixed):
    logits, labels, probabilities = example()
    targets = probabilities / probabilities.sum(1, keepdim=True) if mixed else labels
    expected = F.cross_entropy(logits, targets, label_smoothing=smoothing).item()
    for size in (1e-3, 1.0, 1e3):  # float32 weights: their rounding divides out to 1e-7
        seen = WeightedCrossEntropy([size] * 4, smoothing)(logits, targets).item()
        assert seen == pytest.approx(expected, rel=1e-6)


def test_mixed_images_are_the_weighted_mean_of_their_labels():
    """A mixture of two labels is the two of them, with their shares, and labels are certain mixtures."""
    logits, labels, _ = example()
    others, share = labels.roll(1), 0.3
    targets = share * F.one_hot(labels, 4).double() + (1 - share) * F.one_hot(others, 4).double()
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    terms = [F.cross_entropy(logits, each, weights, reduction="none") for each in (labels, others)]
    total = (share * weights[labels] + (1 - share) * weights[others]).sum()
    expected = (share * terms[0] + (1 - share) * terms[1]).sum() / total
    assert WeightedCrossEntropy(WEIGHTS)(logits, targets).item() == pytest.approx(expected.item(), rel=1e-12)
    certain = F.one_hot(labels, 4).double()
    for smoothing in (0.0, 0.2):
        loss = WeightedCrossEntropy(WEIGHTS, smoothing)
        assert loss(logits, certain).item() == pytest.approx(loss(logits, labels).item(), rel=1e-12)


def test_its_gradient_is_that_of_its_definition():
    logits, labels, _ = example()
    assert torch.autograd.gradcheck(lambda each: WeightedCrossEntropy(WEIGHTS, 0.1)(each, labels), logits)


def test_doubling_a_weight_is_doubling_the_images_of_the_class():
    logits, labels, _ = example()
    logits = logits.detach()
    twice = torch.cat([torch.arange(6), (labels == 2).nonzero().flatten()])
    seen = WeightedCrossEntropy([1.0, 1.0, 2.0, 1.0])(logits, labels)
    assert seen.item() == pytest.approx(F.cross_entropy(logits[twice], labels[twice]).item(), rel=1e-12)


def test_balanced_weights_make_classes_weigh_the_same():
    counts = np.array([30, 10, 60])
    weights = resolved_weights("balanced", counts)
    assert np.array(weights) * counts == pytest.approx([100 / 3] * 3)
    assert resolved_weights(None, counts) is None
    assert resolved_weights([1, 2, 3], counts) == [1.0, 2.0, 3.0]
    assert unbalanced(counts)
    assert not unbalanced(np.array([125, 100]))
    assert not unbalanced(None)


@pytest.mark.parametrize(
    ("chosen", "counts", "error", "message"),
    [
        ([1, 2], np.array([3, 4, 5]), OptionError, "has 2 numbers and the dataset 3 classes"),
        ("balanced", None, DataError, "give it the property train_labels"),
        ("balanced", np.array([3, 0]), DataError, "class 1 has no training image"),
    ],
)
def test_weights_that_cannot_be(chosen, counts, error, message):
    with pytest.raises(error, match=message):
        resolved_weights(chosen, counts)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("balance", "must be null, balanced or a list of numbers, got 'balance'"),
        ([], "must be null, balanced or a list"),
        ([1.0, 0.0], r"must be greater than 0, got 0\.0"),
        ([1.0, float("nan")], "must be a finite number, got nan"),
        ([1.0, "a"], "class_weights must be a number, got 'a'"),
    ],
)
def test_options_that_are_none(chosen, message):
    with pytest.raises(OptionError, match=message):
        TrainingOptions(class_weights=chosen)
