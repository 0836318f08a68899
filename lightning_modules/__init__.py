"""LightningModules, callbacks and loggers around `gcp` networks, and what each ``mode`` of run.py does."""
