"""Make the small file of an agent that is shipped: weights and header, nothing to go on with.

    python benchmarks/ship.py checkpoints/my-run checkpoints/breakout.safetensors

`a2c evaluate`, `record` and `inspect` take the result; `a2c train --resume` says that it cannot.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from a2c_cli.runs import checkpoint
from a2c_cli.runs.files import write_atomic
from a2c_cli.runs.finding import find_checkpoint


def main() -> None:
    """Read, leave out, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="a run directory (its best) or a checkpoint")
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    source = find_checkpoint(args.source)
    header, tensors = checkpoint.read_checkpoint(source)
    data = checkpoint.weights_only(header, tensors)
    write_atomic(args.target, data)
    print(f"{source} -> {args.target}: {len(data) / 1e6:.1f} MB, {header.env_steps:,} steps")


if __name__ == "__main__":
    main()
