"""Measurements against other code, each one command; torch's threads wait as they do under run.py."""

from lightning_modules.run.threads import spin_briefly

spin_briefly()  # here, since every benchmark loads torch in its first lines
