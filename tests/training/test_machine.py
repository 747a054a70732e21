"""What is set up before the first update."""

from __future__ import annotations

import platform
import threading
from pathlib import Path

import pytest
import torch
from process import run_python

from a2c_cli import TrainConfig, train

TAKE_AND_FREE = """
import resource
from a2c_cli.training.machine import keep_freed_memory
keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [bytearray(8 * 2**20) for _ in range(8)]
    del pieces
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own switch")
def test_memory_that_was_freed_is_not_fetched_again() -> None:
    done = run_python("-c", TAKE_AND_FREE)
    assert done.code == 0, done.stderr
    assert int(done.stdout) < 1000  # page faults; 16,384 pages are taken


def test_training_leaves_torchs_threads_as_they_were(tmp_path: Path) -> None:
    def threads() -> int:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0]

    torch.set_num_threads(2)
    try:
        train(TrainConfig(env="CartPole-v1", total_steps=10), run_dir=tmp_path / "run")
        assert (torch.get_num_threads(), threads()) == (2, 2)
    finally:
        torch.set_num_threads(1)
