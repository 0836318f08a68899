"""Checkpoints of others: the reference implementation's and its parent project's, read into our networks."""
