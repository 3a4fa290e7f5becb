"""An extractor of a plug-in: its fields come into the fingerprint, and what it does wrong is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.dataset import parallel
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.extensions import load_plugins
from nnunet_trainer.fingerprint import extraction
from nnunet_trainer.fingerprint.extraction import extract
from support.datasets import make_dataset
from support.plugins import isolated, write

EXTRACTOR = """
    from typing import Annotated
    import numpy as np
    from nnunet_trainer.extensions import Range, register
    from nnunet_trainer.fingerprint.extractors import DatasetFingerprintExtractor

    @register("extractor", "Volumes")
    class Volumes(DatasetFingerprintExtractor):
        "Foreground voxels of each case."

        def __init__(self, *, factor: Annotated[float, Range(0)] = 1.0) -> None:
            self.factor = factor

        def case(self, name, images, seg, spacing):
            return {CASE}

        def dataset(self, fingerprint, cases):
            return {DATASET}
"""
GOOD = {
    "CASE": "self.factor * (seg > 0).sum()",
    "DATASET": "{**fingerprint, 'volumes': cases, 'mean': np.mean(list(cases.values()))}",
}


def text(**changes: str) -> str:
    found = EXTRACTOR
    for key, value in {**GOOD, **changes}.items():
        found = found.replace(f"{{{key}}}", value)
    return found


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RawDataset]:
    monkeypatch.setattr(extraction, "TOTAL_SAMPLES", 2000)
    with isolated():
        yield RawDataset.open(make_dataset(tmp_path / "Dataset001_A", cases=3, shape=(6, 10, 8)))


def test_its_fields_are_in_the_fingerprint(raw: RawDataset, tmp_path: Path) -> None:
    before = extract(raw)
    write(tmp_path, "mine", volumes=text())
    load_plugins(tmp_path, ["mine"])
    found = extract(raw, extractor="Volumes", parameters={"factor": 2})
    assert {key: found[key] for key in before} == before  # what nnU-Net reads is as it was
    labels = [np.asarray(extraction.by_name(raw.reader).read_label(case.label)) for case in raw.cases.values() if case.label]
    assert list(found["volumes"].values()) == [2 * (label > 0).sum() for label in labels]
    assert found["extractor"] == {"name": "Volumes", "parameters": {"factor": 2}}
    assert found["plugins"][0]["components"] == ["extractor Volumes"]
    assert json.loads(json.dumps(found)) == found


def test_workers_import_it_too(raw: RawDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "mine", volumes=text())
    load_plugins(tmp_path, ["mine"])
    alone = extract(raw, extractor="Volumes")
    monkeypatch.setattr(parallel, "_threads", lambda: 2)  # a fork server: nothing is inherited
    assert extract(raw, 2, extractor="Volumes") == alone


@pytest.mark.parametrize(
    ("changes", "parameters", "said"),
    [
        ({"CASE": "1 / 0"}, {}, "with case case_0"),
        ({"CASE": "1 / 0"}, {}, "fails: ZeroDivisionError: division by zero"),
        ({"DATASET": "{**fingerprint, 'mean': float('nan')}"}, {}, "answers NaN or infinity: mean"),
        ({"DATASET": "{'volumes': cases}"}, {}, "leaves out foreground_intensity_properties_per_channel, which planning needs"),
        ({"DATASET": "{**fingerprint, 'spacings': [1, 2]}"}, {}, "answers spacings of shape [2, 'number']; [3, [3, 'number']]"),
        ({"DATASET": "None"}, {}, "answers NoneType; a dict was expected"),
        ({"DATASET": "{**fingerprint, 'x': object()}"}, {}, "answers what is no JSON: object is neither"),
        ({}, {"factor": -1}, "parameters.factor: -1 is out of range; a number at least 0"),
        ({}, {"facter": 1}, "parameters.facter: Volumes has no such parameter; did you mean factor?"),
    ],
)
def test_what_it_does_wrong_is_said(
    raw: RawDataset, tmp_path: Path, changes: dict[str, str], parameters: dict[str, Any], said: str
) -> None:
    write(tmp_path, "mine", volumes=text(**changes))
    load_plugins(tmp_path, ["mine"])
    with pytest.raises(BadConfiguration) as refused:
        extract(raw, extractor="Volumes", parameters=parameters)
    assert said in str(refused.value)


def test_by_hand(raw: RawDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin, output = write(tmp_path / "plugins", "mine", volumes=text()), tmp_path / "fingerprint.json"
    command = ["fingerprint", str(raw.folder), "--workers", "1", "-o", str(output), "--extractor", "Volumes"]
    assert cli.main(command) == 78
    assert "UnknownExtractor: There is no extractor named 'Volumes'" in capsys.readouterr().err
    assert cli.main([*command, "--plugins", str(plugin), "--parameters", '{"factor": 3}']) == 0
    assert json.loads(output.read_text())["extractor"]["parameters"] == {"factor": 3}
