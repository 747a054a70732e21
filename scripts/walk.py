"""Walk through the README as a stranger does: every command, in an empty directory, with its time.

    python scripts/walk.py > transcript.txt

The `a2c` that is run is the one on the PATH, so it is worth most in a new environment with nothing
but the package in it. Commands are run as they stand, but training on Atari ends after 2,000 steps.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
SHORT = " --total-steps 2000"


def blocks(page: Path) -> list[str]:
    """The fenced blocks of a page that are commands."""
    # Blocks of other languages are matched too: their ends are no beginnings.
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.M)
    return [text for language, text in fenced if not language]


def commands(page: Path) -> list[str]:
    """Its `a2c` commands, each once, in their order."""
    lines = [line for block in blocks(page) for line in block.splitlines()]
    found = [re.search(r"(?:^|&& )((?:\w+=\w+ )*a2c [a-z].*)", line) for line in lines]
    return list(dict.fromkeys(match[1].partition("  #")[0].strip() for match in found if match))


def programs(page: Path) -> list[str]:
    """Its Python programs that say that they can be run."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"<!-- run: python -->\n```python\n(.*?)```", text, re.DOTALL)


def files(page: Path) -> dict[str, str]:
    """The files that a page asks the reader to write, by their names."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", text, re.DOTALL)
    return dict(found)


def adapted(command: str, place: Path) -> str:
    """A command with the budget and the run that there are in this place."""
    if "--env ALE/" in command:
        return command + SHORT
    runs = sorted((place / "checkpoints").glob("Breakout-*"))
    if "--resume checkpoints/Breakout-" in command and runs:
        return f"a2c train --resume checkpoints/{runs[-1].name} --total-steps 3000"
    return command


def run(command: str, place: Path, shown: str = "") -> bool:
    """Run it and print what it printed and how long it took; whether it succeeded."""
    print(f"$ {shown or command}", flush=True)
    start = time.monotonic()
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, shell=True, cwd=place, env=kept, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    print(done.stdout.rstrip())
    print(f"[exit {done.returncode}, {time.monotonic() - start:.1f} s]\n", flush=True)
    return done.returncode == 0


def main() -> int:
    """The walk; 1 if a command failed."""
    if shutil.which("a2c") is None:
        print("there is no a2c on the PATH", file=sys.stderr)
        return 1
    failed = []
    with tempfile.TemporaryDirectory() as where:
        place = Path(where)
        for name, text in files(README).items():
            (place / name).write_text(text)
        for command in commands(README):
            if "hf:" not in command and not run(adapted(command, place), place):
                failed.append(command)
        (place / "program.py").write_text("\n".join(programs(README)))
        python = Path(shutil.which("a2c") or "").parent / "python"
        if not run(f"{python} program.py", place, "python program.py"):
            failed.append("the program")
    print(f"{len(failed)} failed" if failed else "all succeeded")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
