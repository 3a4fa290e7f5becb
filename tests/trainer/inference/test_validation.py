import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.evaluation import read_summary
from nnunet_trainer.inference import validate
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.preprocessing.case import read_and_preprocess
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case

from . import models

EXAMPLES = Path(__file__).parents[3] / "examples/data"
NAMES = ["hippocampus_001", "hippocampus_008", "hippocampus_011"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Three real cases preprocessed, and their ground truth."""
    root = tmp_path_factory.mktemp("validation")
    raw, content = RawDataset.open(EXAMPLES / "Dataset004_Hippocampus"), models.plans(spacing=(1.3, 0.9, 1.1))
    plans = Plans(content)
    (root / "cases").mkdir()
    (root / "gt").mkdir()
    for name in NAMES:
        data, seg, properties = read_and_preprocess(raw.case(name), plans, "small", raw.dataset_json)
        write_case(root / "cases", name, data, seg, properties, (24, 32, 24))
        shutil.copy(raw.case(name).label, root / "gt")
    return {
        "plans": plans,
        "configuration": "small",
        "dataset_json": raw.dataset_json,
        "store": PreprocessedFolder(root / "cases"),
        "cases": NAMES,
        "ground_truth": root / "gt",
    }


@pytest.fixture(scope="module")
def network():
    return models.network(models.plans(spacing=(1.3, 0.9, 1.1)), models.DATASET)


@pytest.mark.reference
def test_the_summary_is_nnunets(prepared, network, tmp_path):
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    network.train()
    steps = []
    out = tmp_path / "validation"
    result = validate(network, **prepared, out=out, mirror_axes=(0, 1, 2), progress=lambda *a: steps.append(a))
    assert network.training
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    theirs = tmp_path / "theirs.json"
    compute_metrics_on_folder(
        str(prepared["ground_truth"]), str(out), str(theirs), SimpleITKIO(), ".nii.gz", [1, 2], num_processes=1
    )
    assert json.loads((out / "summary.json").read_text()) == json.loads(theirs.read_text())
    assert result == read_summary(out / "summary.json")
    assert not math.isnan(result["foreground_mean"]["Dice"])


def test_ranks_share_the_cases(prepared, network, tmp_path):
    alone = validate(network, **prepared, out=tmp_path / "alone")
    waited = []
    assert validate(network, **prepared, out=tmp_path / "both", rank=1, world_size=2, barrier=lambda: waited.append(1)) is None
    assert [p.name for p in (tmp_path / "both").iterdir()] == ["hippocampus_008.nii.gz"]
    both = validate(network, **prepared, out=tmp_path / "both", rank=0, world_size=2, barrier=lambda: waited.append(0))
    assert waited == [1, 0]
    assert both["mean"] == alone["mean"]


def test_an_interrupted_validation_goes_on(prepared, network, tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total):
        if done == 1:
            raise Stop

    with pytest.raises(Stop):
        validate(network, **prepared, out=tmp_path, progress=stop)
    assert (tmp_path / "hippocampus_001.nii.gz").is_file()
    assert not (tmp_path / "summary.json").exists()
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    validate(network, **prepared, out=tmp_path, keep_existing=True)
    resumed = len(calls)
    validate(network, **prepared, out=tmp_path, keep_existing=False)
    assert 0 < resumed < len(calls) - resumed
    network._forward_hooks.clear()
    assert (tmp_path / "summary.json").is_file()


def test_missing_ground_truth_is_told_before_anything_is_predicted(prepared, tmp_path):
    def network(_):
        raise AssertionError("predicted")

    with pytest.raises(BadData, match="hippocampus_999"):
        validate(torch.nn.Identity(), **{**prepared, "cases": [*NAMES, "hippocampus_999"]}, out=tmp_path)
    with pytest.raises(BadData, match="no validation cases"):
        validate(torch.nn.Identity(), **{**prepared, "cases": []}, out=tmp_path)
