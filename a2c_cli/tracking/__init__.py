"""Experiment trackers: metrics, films and histograms sent elsewhere as training goes on.

- session:  the trackers of one run
- tracker:  what a tracker is
- tensorboard, wandb, trackio: one file per tracker
"""
