"""Covariance pooling put into networks of others: torchvision's, timm's and one's own."""
