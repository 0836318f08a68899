"""Options of optimizers, schedules, loggers, callbacks, modes and the trainer; registries where names choose.

Free of torch, like `gcp.methods`: the command line's schema and its help are derived from these classes.
"""
