"""Networks as files that run without this project: one file per format, each with ``write`` and ``load``."""
