"""What run.py does: one file per ``mode``, each with ``run(run, summary)``."""
