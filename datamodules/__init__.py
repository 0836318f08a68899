"""Datasets as Lightning data modules; ``datamodules.datasets`` lists them without importing torch."""
