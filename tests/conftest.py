"""Fixtures for all tests. `tests/` is on the path, so that tests say `from support.x import …`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["support.controlplane", "support.s3", "support.left_behind"]
