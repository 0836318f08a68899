"""Measurements of the layers against what they replace."""
