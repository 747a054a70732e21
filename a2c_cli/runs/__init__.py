"""A run on disk: its directory, its checkpoints, its metrics.

- directory:  who holds a run, and where its files lie; files: atomic writes
- finding:    which checkpoint a command means
- checkpoint: safetensors files; header: what one says of itself; sizes: how large it may be
- shipped:    agents that come with the package; hub: those on the Hugging Face Hub; card: what is
              said of one there
- loading:    from a checkpoint back to an agent and its environment
- metrics:    metrics.jsonl read back
- inspection, weights: what a checkpoint tells without being run
"""
