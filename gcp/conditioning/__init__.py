"""Remedies for ill-conditioned covariances (Song et al., ECCV 2022, arXiv 2207.02119), for the layer before one."""
