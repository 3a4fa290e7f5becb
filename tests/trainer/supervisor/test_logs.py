"""What a step's processes write for `kubectl logs`, and for a person beside them."""

import json
import subprocess
import sys

import pytest

PROGRAM = r"""
import logging, warnings
from nnunet_trainer.supervision import logs
logs.configure()
log = logging.getLogger("nnunet_trainer.steps.train")
log.info("epoch %d\nof a \"fold\"", 3)
logging.getLogger("numexpr.utils").info("NumExpr defaulting to 2 threads.")
logging.getLogger("matplotlib.font_manager").info("generated new fontManager")
logging.getLogger("matplotlib.font_manager").warning("Matplotlib is building the font cache")
warnings.warn("a library warns", stacklevel=1)
log.debug("not shown")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("it failed")
"""


def written(environment: dict[str, str]) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize(("rank", "own"), [({}, {}), ({"RANK": "1"}, {"rank": 1})])
def test_in_a_pod_each_line_is_json(rank, own):
    lines = [json.loads(line) for line in written({"POD_NAME": "run-1", **rank})]
    assert [line["level"] for line in lines] == ["info", "warning", "warning", "error"]
    assert lines[0] == {**lines[0], "logger": "nnunet_trainer.steps.train", "message": 'epoch 3\nof a "fold"'}
    assert lines[0].keys() == {"time", "level", "logger", "message", *own}
    assert all(line.get("rank") == own.get("rank") for line in lines)
    assert "a library warns" in lines[2]["message"]
    assert "ZeroDivisionError" in lines[3]["error"]


def test_elsewhere_lines_are_for_a_person():
    lines = written({})
    assert lines[0].endswith("INFO epoch 3")
    assert not any("NumExpr" in line or "fontManager" in line for line in lines)
    assert any("building the font cache" in line for line in lines)
