"""Pooling layers: (B, C, H, W) in, (B, out_features) out."""
