"""Environments as endless streams of observations; nothing is imported until `make` is."""
