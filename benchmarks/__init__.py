"""Measurements: each is one command and leaves its figures in this folder."""
