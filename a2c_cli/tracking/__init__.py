"""Experiment trackers: metrics, films and histograms sent elsewhere as training goes on.

- session:  the trackers of one run
- tracker:  what a tracker is, and how one is found by its name
- tensorboard, wandb, trackio: one file per tracker
"""
