"""Hydra configuration: one folder per group, and the schema that types it."""
