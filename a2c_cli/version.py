"""What this package is called, and which version it is."""

from __future__ import annotations

DISTRIBUTION = "onestream-a2c"  # what pip calls it; before 0.2 it was `a2c-cli`
VERSION = "0.2.0"
