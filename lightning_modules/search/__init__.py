"""Searches over hyper-parameters, by Optuna. Free of torch."""
