"""Sweeps: many trials of train() over environments, settings and seeds.

- plan:    which trials; trial: one of them; state: sweep.json
- drive:   runs the trials; local, node, cluster: on processes or on Ray
- summary, table: what came out
"""
