"""What ImageNet's training images have on average, by which images are normalised everywhere here. Free of torch."""

from __future__ import annotations

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green and blue values from 0 to 1
