"""Functions of a covariance through one eigendecomposition."""
