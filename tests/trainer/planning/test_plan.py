"""Planning: its options, its explanation, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.planners.topology import topology
from nnunet_trainer.planning.plans import Plans
from support.datasets import TARGET


def planned(fingerprint: dict[str, Any], dataset_json: dict[str, Any], **options: Any) -> dict[str, Any]:
    return plan(fingerprint, dataset_json, dataset_name="Dataset050_CT", reader="SimpleITKIO", **options)


def test_all_four_configurations(plans: dict[str, Any]) -> None:
    assert list(plans["configurations"]) == ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"]
    assert plans["configurations"]["3d_lowres"]["next_stage"] == "3d_cascade_fullres"
    assert json.loads(json.dumps(plans)) == plans  # plain Python, as it stands in the file


def test_explained(fingerprint: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    notes: list[str] = []
    planned(fingerprint, dataset_json, notes=notes)
    text = "\n".join(notes)
    for said in ("target spacing [3, 0.78, 0.78]", "3d_fullres: batch 2", "3d_lowres at spacing", "CTNormalization", "8 GB"):
        assert said in text


def test_more_memory_never_makes_the_patch_smaller(fingerprint: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    sizes = []
    for gb in (4, 8, 16, 40):
        network = planned(fingerprint, dataset_json, gpu_memory_gb=gb)["configurations"]["3d_fullres"]
        sizes.append(network["patch_size"][0] * network["patch_size"][1] * network["patch_size"][2] * network["batch_size"])
    assert sizes == sorted(sizes)


def test_parameters(fingerprint: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    options = {"maxPooling": 3, "base_features": 16, "maxFeatures3d": 64, "lowresCreationThreshold": 0.001, "minBatchSize": 5}
    network = planned(fingerprint, dataset_json, parameters=options)["configurations"]
    assert list(network) == ["2d", "3d_fullres"]
    arguments = network["3d_fullres"]["architecture"]["arch_kwargs"]
    assert arguments["features_per_stage"][:3] == [16, 32, 64]
    assert max(arguments["features_per_stage"]) == 64
    assert all(sum(stride[axis] == 2 for stride in arguments["strides"]) <= 3 for axis in range(3))
    assert network["3d_fullres"]["batch_size"] >= 5


def test_a_planner_for_each_configuration(fingerprint: dict[str, Any], dataset_json: dict[str, Any]) -> None:
    mixed = planned(
        fingerprint, dataset_json, per_configuration={"2d": {"name": "nnUNetPlannerResEncM"}, "3d_fullres": {"gpuMemoryGB": 24}}
    )
    assert "ResidualEncoderUNet" in mixed["configurations"]["2d"]["architecture"]["network_class_name"]
    assert "PlainConvUNet" in mixed["configurations"]["3d_fullres"]["architecture"]["network_class_name"]
    large = planned(fingerprint, dataset_json, gpu_memory_gb=24)
    assert mixed["configurations"]["3d_fullres"] == large["configurations"]["3d_fullres"]
    assert mixed["configurations"]["3d_lowres"] == planned(fingerprint, dataset_json)["configurations"]["3d_lowres"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"planner": "ResEncPlanner"}, "ResEncUNetPlanner"),
        ({"parameters": {"maxPoolings": 3}}, "Did you mean maxPooling"),
        ({"parameters": {"maxPooling": "3"}}, "planner.parameters.maxPooling: an integer at least 1 was expected, found '3'"),
        ({"parameters": {"baseFeatures": -1}}, "planner.parameters.baseFeatures: -1 is out of range"),
        ({"parameters": {"blocksEncoder": 2}}, "planner.parameters.blocksEncoder: a list was expected, found 2"),
        ({"parameters": {"blocks_encoder": [2, 0]}}, "planner.parameters.blocks_encoder[1]: 0 is out of range"),
        ({"parameters": {"blocksEncoder": []}}, "a list of at least 1"),
        ({"gpu_memory_gb": 0}, "GPU memory"),
        ({"target_spacing": [1, 1]}, "three positive numbers"),
        ({"target_spacing": [1, 1, -1]}, "three positive numbers"),
        ({"per_configuration": {"3d_huge": {}}}, "planner.perConfiguration.3d_huge"),
        ({"per_configuration": {"2d": {"targetSpacing": [0.5, 3, 0.5]}}}, "transpose"),
    ],
)
def test_refused(fingerprint: dict[str, Any], dataset_json: dict[str, Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        planned(fingerprint, dataset_json, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize("field", ["spacings", "shapes_after_crop", "median_relative_size_after_cropping"])
def test_a_fingerprint_that_lacks_a_field(fingerprint: dict[str, Any], dataset_json: dict[str, Any], field: str) -> None:
    del fingerprint[field]
    with pytest.raises(BadData, match=field):
        planned(fingerprint, dataset_json)


@settings(max_examples=200, deadline=None)
@given(
    spacing=st.lists(st.floats(0.2, 12), min_size=2, max_size=3),
    data=st.data(),
    min_edge=st.integers(2, 8),
)
def test_any_topology_divides_its_patch(spacing: list[float], data: st.DataObject, min_edge: int) -> None:
    patch = data.draw(st.lists(st.integers(1, 600), min_size=len(spacing), max_size=len(spacing)))
    found = topology(spacing, patch, min_edge)
    assert len(found.kernel_sizes) == len(found.strides) == found.stages
    for axis, size in enumerate(found.patch_size):
        divisor = 1
        for stride in found.strides:
            divisor *= stride[axis]
        assert divisor == found.divisor[axis]
        assert size % divisor == 0
        assert patch[axis] <= size < patch[axis] + divisor
        assert divisor == 1 or size // divisor >= min_edge  # no feature map is smaller
    for before, after in zip(found.kernel_sizes, found.kernel_sizes[1:], strict=False):
        assert all(b <= a for b, a in zip(before, after, strict=True))  # once 3, always 3


def test_command(tmp_path: Path, fingerprint: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    found, output = tmp_path / "f.json", tmp_path / "plans.json"
    found.write_text(json.dumps(fingerprint))
    call = ["plan", str(TARGET), "--fingerprint", str(found), "-o", str(output)]
    assert cli.main([*call, "--explain"]) == 0
    assert "target spacing" in capsys.readouterr().out
    plans = json.loads(output.read_text())
    assert Plans(plans).dataset_name == TARGET.name

    plans["configurations"]["mine"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    output.write_text(json.dumps(plans))
    assert cli.main([*call, "--patch", '{"configurations": {"2d": {"batch_size": 4}}}']) == 0
    said = capsys.readouterr()
    assert "mine was there already and is kept" in said.err
    assert "(replaced)" in said.out
    again = json.loads(output.read_text())
    assert again["configurations"]["mine"] == {"inherits_from": "3d_fullres", "batch_size": 7}
    assert again["configurations"]["2d"]["batch_size"] == 4

    (tmp_path / "other.json").write_text(json.dumps(plans))
    assert cli.main(["plan", str(TARGET), "--diff", str(tmp_path / "other.json"), str(output)]) == 0
    was = plans["configurations"]["2d"]["batch_size"]
    assert capsys.readouterr().out == f"configurations.2d.batch_size: {was} → 4\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 64, "--fingerprint"),
        (["--fingerprint", "nowhere.json"], 64, "nowhere.json cannot be read"),
        (["--fingerprint", "F", "--planner", "Best"], 78, "no planner named 'Best'"),
        (["--fingerprint", "F", "--patch", "{1"], 64, "--patch is not JSON"),
        (
            ["--fingerprint", "F", "--patch", '{"configurations": {"2d": {"batch_size": 0}}}'],
            78,
            "configurations.2d.batch_size is 0",
        ),
    ],
)
def test_command_refuses(
    tmp_path: Path, fingerprint: dict[str, Any], words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.json").write_text(json.dumps(fingerprint))
    words = [str(tmp_path / "f.json") if word == "F" else word for word in words]
    assert cli.main(["plan", str(TARGET), *words, "-o", str(tmp_path / "p.json")]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "p.json").exists()
