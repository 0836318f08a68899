"""Backbones: images (B, 3, H, W) in, feature maps (B, num_features, H', W') out."""
