"""What the command line decides before anything is imported."""

import os
import subprocess
import sys

import pytest

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
    ],
    ids=["nothing is said", "a policy is given", "a count is given"],
)
def test_threads_wait_asleep_unless_the_environment_says_otherwise(given, expected):
    """In a process of its own, by what its children have."""
    code = """
import subprocess, sys
from nnunet_trainer import cli
cli.main(["--version"])
assert not {"numpy", "torch"} & sys.modules.keys()
subprocess.run(["env"], check=True)
"""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run([sys.executable, "-c", code], env=environment | given, capture_output=True, text=True, check=True)
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.split("=")[0] in NAMES)
    assert found == expected
