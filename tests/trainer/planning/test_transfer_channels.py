"""Plans for a dataset of another number of channels: what nnU-Net can use is warned of, what would end it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.fingerprint.extraction import extract
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.planning.transfer import transfer
from nnunet_trainer.preprocessing.case import read_and_preprocess
from support.datasets import make_dataset
from support.third_party import wheel

pytestmark = pytest.mark.reference

CHANNELS = ("T1", "CT", "noNorm")
COUNTS = (1, 2, 3)
C = "3d_fullres"


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[int, RawDataset]:
    """Of one, two and three channels, with so much border that the first is normalized within a mask."""
    folder = tmp_path_factory.mktemp("raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e4)
        return {
            n: RawDataset.open(
                make_dataset(folder / f"Dataset{800 + n}_Channels{n}", channels=CHANNELS[:n], cases=2, border=6, seed=n)
            )
            for n in COUNTS
        }


@pytest.fixture(scope="module")
def made(datasets: dict[int, RawDataset]) -> dict[int, dict[str, Any]]:
    """Their plans."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e4)
        return {
            n: plan(extract(raw, 1), raw.dataset_json, dataset_name=raw.name, reader=raw.any_reader) for n, raw in datasets.items()
        }


def moved(plans: dict[str, Any], source: RawDataset, target: RawDataset, **options: Any) -> tuple[dict[str, Any], list[str]]:
    result, report = transfer(
        plans,
        dataset_name=target.name,
        dataset_json=target.dataset_json,
        reader=target.any_reader,
        source_dataset_json=source.dataset_json,
        **options,
    )
    return result, [str(line) for line in report if line.verdict == "differs"]


@pytest.mark.parametrize("after", COUNTS)
@pytest.mark.parametrize("before", COUNTS)
def test_every_pair_of_numbers(
    datasets: dict[int, RawDataset], made: dict[int, dict[str, Any]], tmp_path: Path, before: int, after: int
) -> None:
    source, target, plans = datasets[before], datasets[after], made[before]
    assert plans["configurations"][C]["use_mask_for_norm"][0], "the first channel is normalized within a mask"
    theirs = wheel.move_plans(plans, Path(target.folder), tmp_path)
    case = next(iter(target.cases.values()))
    if before < after:
        for policy in ("Warn", "Fail"):
            with pytest.raises(BadConfiguration, match=f"channels: {before} → {after}: incompatible") as caught:
                moved(plans, source, target, on_mismatch=policy)
            assert "normalization: Recompute" in caught.value.hint
        with pytest.raises((IndexError, KeyError)):  # nnU-Net's preprocessing, of the plans that it has let through
            wheel.preprocess_case(case.images, case.label, json.loads(theirs), C, target.dataset_json)
        return
    ours, warned = moved(plans, source, target)
    assert json.dumps(ours) == json.dumps(json.loads(theirs))
    assert (f"channels: {before} → {after}: differs" in warned) == (before > after)
    if before > after:
        with pytest.raises(BadConfiguration, match=f"channels: {before} → {after}: differs") as caught:
            moved(plans, source, target, on_mismatch="Fail")
        assert "set onMismatch: Warn" in caught.value.hint
    else:
        moved(plans, source, target, on_mismatch="Fail")
    data, seg, _ = wheel.preprocess_case(case.images, case.label, json.loads(theirs), C, target.dataset_json)
    our_data, our_seg, _ = read_and_preprocess(case, Plans(ours), C, target.dataset_json)
    assert our_data.shape == data.shape
    assert len(data) == after
    assert np.abs(our_data - data).max() < 2e-5
    assert np.array_equal(our_seg, seg)


@pytest.mark.parametrize("field", ["normalization_schemes", "use_mask_for_norm"])
def test_a_configuration_that_says_too_little_is_refused(
    datasets: dict[int, RawDataset], made: dict[int, dict[str, Any]], field: str
) -> None:
    """Also when another one says enough."""
    plans = json.loads(json.dumps(made[3]))
    plans["configurations"][C][field] = plans["configurations"][C][field][:1]
    with pytest.raises(BadConfiguration, match=rf"{C}\.{field} is .*, expected one entry for each of the 2 channels"):
        moved(plans, datasets[3], datasets[2])


def test_a_patch_of_ones_own_plans_says_as_much_as_there_are_channels(
    datasets: dict[int, RawDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = datasets[1]
    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e4)
    patch = {"configurations": {C: {"use_mask_for_norm": [True, False]}}}
    with pytest.raises(BadConfiguration, match="expected one entry for the 1 channel"):
        plan(extract(raw, 1), raw.dataset_json, dataset_name=raw.name, reader=raw.any_reader, patch=patch)
