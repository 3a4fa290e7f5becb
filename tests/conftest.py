"""Fixtures for all tests. `tests/` is on the path, so that tests say `from support.x import …`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# Before torch is imported, and for processes that tests start. Workers of pytest share the cores: threads of several that wait for
# each other busily, as OpenMP's do, make a training of the size of these ten times as slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).parent))

# A machine that is busy with something else is no failure of an example, and every run has the same examples.
settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

pytest_plugins = ["support.controlplane", "support.s3", "support.forked_operators", "support.left_behind"]
