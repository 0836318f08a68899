"""Loggers of a run: metrics.csv always, others beside it."""
