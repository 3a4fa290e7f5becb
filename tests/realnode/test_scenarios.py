"""What can be said of the real node's scenarios without a node: `make test` keeps them whole between two runs of `make e2e`."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml
from nnunet_operator.api.resources import parse

from realnode.__main__ import timed
from realnode.cluster import quickstart, training
from realnode.scenarios import ALL, SMOKE
from realnode.scenarios.waiting import dataset

FOLDER = Path(__file__).parent / "scenarios"


def test_every_scenario_is_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {"__init__", *ALL, *SMOKE}


@pytest.mark.parametrize("name", sorted({*ALL, *SMOKE}))
def test_a_scenario_has_a_line_of_its_own(name: str) -> None:
    module = importlib.import_module(f"realnode.scenarios.{name}")
    assert callable(module.run)
    assert 10 < len(module.__doc__.strip().splitlines()[0]) < 132


@pytest.mark.parametrize(
    "manifest",
    [
        training("plain"),
        training("placed", workers={"nodes": 2, "gpusPerNode": 1}, template={"sharedMemory": {"size": "96Mi"}}),
        training("kept", checkpoint={"everyEpochs": 1000, "everyMinutes": 1000}, failurePolicy={"maxRestarts": 0}),
        dataset("without", {"secretName": "none"}, template={"image": "none:1"}),
        *[document for file in quickstart() for document in yaml.safe_load_all(file.read_text())],
    ],
    ids=lambda manifest: str(manifest["metadata"]["name"]),
)
def test_what_is_applied_is_what_the_api_knows(manifest: dict[str, object]) -> None:
    parsed = parse(manifest)
    unknown = [name for name in manifest["spec"] if name not in parsed.spec.to_json()]  # type: ignore[attr-defined]
    assert not unknown


def test_a_failure_has_its_line_and_the_next_scenario_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise TimeoutError("no pod came")

    assert timed("a pod runs", lambda: "quickly") is None
    why = timed("another runs", fails)
    assert why is not None
    assert "TimeoutError" in why
    passed, failed = capsys.readouterr().out.splitlines()
    assert passed.startswith("passed")
    assert passed.endswith("a pod runs: quickly")
    assert failed.startswith("FAILED")
    assert "TimeoutError: no pod came" in failed
