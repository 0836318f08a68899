"""Measurements of covariances and spectra that change nothing."""
