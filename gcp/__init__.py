"""Global covariance pooling with differentiable spectral layers."""
