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


def test_numpy_is_not_there_before_its_threads_are_counted():
    """It reads how many it may have when it is loaded: those of the commands that work on cases side by side."""
    code = """
import argparse, importlib, sys
from nnunet_trainer.dataset import parallel

class Counted(Exception):
    pass

def single_threaded():
    assert "numpy" not in sys.modules, name
    raise Counted

parallel.single_threaded = single_threaded
for name in ("dataset", "fingerprint", "preprocessing"):
    try:
        importlib.import_module(f"nnunet_trainer.{name}.command").run(argparse.Namespace())
    except Counted:
        print(name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["dataset", "fingerprint", "preprocessing"], done.stderr
