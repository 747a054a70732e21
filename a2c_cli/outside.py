"""Code from outside: modules that the user names, as in `--env module:Id`."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from types import ModuleType


def import_module(name: str) -> ModuleType:
    """Import a module as `python -m` would find it: the current directory comes first.

    Only for names that the user has given to this command: what a file says may come from a
    stranger.

    Raises:
        Exception: whatever the import does.
    """
    with contextlib.suppress(OSError):  # the directory may be gone
        here = os.getcwd()
        if here not in sys.path:  # the console script has its own directory there instead
            sys.path.insert(0, here)
    return importlib.import_module(name)
