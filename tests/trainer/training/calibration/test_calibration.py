"""Calibration: what a step takes is counted rightly, and the largest patch is found."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.work_order import Input, Location, PlannerChoice, PlanOrder
from nnunet_trainer.planning.gpu_memory import references
from nnunet_trainer.planning.planner_presets import planner
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.steps import calibrations
from nnunet_trainer.training.calibration import series
from nnunet_trainer.training.calibration.measuring import AllocationCounter
from nnunet_trainer.training.ranks import devices

from trainer.planning.conftest import DATASET_JSON, FINGERPRINT

MB = 2**20


def test_tensors_are_counted_while_they_exist() -> None:
    there = torch.zeros(MB // 4)
    with AllocationCounter([there, there.view(2, -1)]) as counter:
        assert counter.now == MB
        other = there + 1
        part = other[:10]
        del other
        assert counter.now == 2 * MB  # a view holds it
        del part
        assert counter.now == MB
        there.add_(1)
        torch.zeros(MB)
    assert (counter.now, counter.peak) == (MB, 5 * MB)


def test_what_backward_needs_is_counted() -> None:
    x = torch.ones(MB // 4, requires_grad=True)
    with AllocationCounter([x]) as counter:
        y = x.exp().exp().sum()
        kept = counter.now
        y.backward()  # type: ignore[no-untyped-call]
    assert kept == 3 * MB + 4  # x, both powers, the sum
    assert counter.now >= 2 * MB  # x and its gradient


class Fake:
    """A device whose peak is a straight line over the estimate."""

    def __init__(self, constant: float, slope: float) -> None:
        self.constant, self.slope, self.asked = constant, slope, list[float]()

    def __call__(self, candidate: Any, batch: int) -> int:
        self.asked.append(candidate.estimate)
        return int(1e9 * (self.constant + self.slope * candidate.estimate))

    def fits(self, candidate: Any, memory_gb: float) -> bool:
        return self.constant + self.slope * candidate.estimate <= memory_gb


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    device = Fake(1.0, 7 / 560_000_000)
    monkeypatch.setattr(series, "_measured", lambda content, precision, where, candidate, batch: device(candidate, batch))
    return device


def calibrated(**options: Any) -> series.Calibration:
    return series.calibrate(planner("ExperimentPlanner"), dataset_json=DATASET_JSON, device=torch.device("cpu"), **options)


@pytest.mark.parametrize("memory", [8.0, 24.0, 80.0])
def test_the_straight_line_meets_the_memory(fake: Fake, memory: float) -> None:
    found = calibrated(memory_gb=memory)
    expected = (memory - 1) / 7 * 560_000_000
    assert found.largest == {label: pytest.approx(expected, rel=1e-3) for label in ("3d", "2d")}
    assert found.parameters["reference_3d"] == pytest.approx(expected * 0.75, rel=1e-3)
    assert found.parameters["reference_gb"] == memory
    assert found.scaled_down
    assert "without a GPU" in found.sentence()
    assert [len(rows) for rows in found.series.values()] == [3, 3]


@pytest.mark.parametrize("memory", [3.0, 8.0, 24.0])
def test_patches_grow_until_one_does_not_fit(fake: Fake, memory: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the last that fits is followed by one that does not, and few are tried."""
    rows: list[float] = []
    dataset = series.DatasetFacts(
        planner=planner("ExperimentPlanner"), fingerprint={}, dataset_json=DATASET_JSON, spacings=[], shapes=[], say=print
    )
    configuration = series.ConfigurationFacts(
        name="3d_fullres",
        dataset=dataset,
        gpu_memory_gb=8,
        axes=range(3),
        spacing=torch.ones(3).numpy(),
        median_shape=[1e5] * 3,
        dataset_voxels=1e15,
    )
    candidates = list(series._candidates(configuration, series.EDGES[3]))

    def tried(candidate: Any) -> float | None:
        rows.append(candidate.estimate)
        gigabytes = fake(candidate, 2) / 1e9
        return gigabytes if gigabytes <= memory * 1.2 else None  # beyond that torch would say so

    largest = series._by_growth(iter(candidates), tried, memory)
    fitting = [each.estimate for each in candidates if 1 + 7 * each.estimate / 560_000_000 <= memory]
    assert largest == max(fitting)
    assert len(rows) <= 11 < len(candidates)


def test_nothing_fits(fake: Fake) -> None:
    assert series._by_growth(iter([]), lambda each: None, 8) is None
    with pytest.raises(BadConfiguration, match=r"3d: not even a batch of 2 patches of 16×16×16 voxels fits 0.5 GB"):
        calibrated(memory_gb=0.5)


@pytest.mark.parametrize(("axes", "other"), [(3, "reference_2d"), (2, "reference_3d")])
def test_what_is_not_measured_is_scaled_to_the_same_memory(fake: Fake, axes: int, other: str) -> None:
    """A reference for 8 GB does not fill 24: the configurations that it is of are planned as without a calibration, for 24 GB."""
    calibration = calibrated(memory_gb=24.0, dimensions=[axes])
    preset = planner("ExperimentPlanner")
    assert calibration.parameters[other] == getattr(preset, other) * 3
    assert list(calibration.largest) == [f"{axes}d"]
    options: dict[str, Any] = {"dataset_name": "Dataset050_CT", "reader": "SimpleITKIO"}
    plans = plan(FINGERPRINT, DATASET_JSON, **options, calibration=json.loads(json.dumps(calibration.content())))
    plain = plan(FINGERPRINT, DATASET_JSON, **options, gpu_memory_gb=24)
    name = "2d" if axes == 3 else "3d_fullres"
    for field in ("patch_size", "batch_size"):
        assert plans["configurations"][name][field] == plain["configurations"][name][field]


@pytest.mark.parametrize(
    ("others", "measured"),
    [
        ([], [3, 2]),
        (["3d_fullres"], [3, 2]),
        (["3d_lowres"], [3, 2]),
        (["3d_fullres", "3d_lowres"], [2]),
        (["2d"], [3]),
    ],
)
def test_what_the_planner_plans_is_measured(others: list[str], measured: list[int]) -> None:
    assert calibrations.dimensions(order({name: PlannerChoice(name="ResEncUNetPlanner") for name in others})) == measured


def order(others: dict[str, PlannerChoice] | None = None, gpu_memory_gb: float | None = None) -> PlanOrder:
    place = Location(uri="file:///a")
    return PlanOrder(
        dataset_name="Dataset050_CT",
        dataset=Input(location=place, digest="1"),
        source=place,
        storage=place,
        planner=PlannerChoice(gpu_memory_gb=gpu_memory_gb, calibrate=True),
        per_configuration=others or {},
    )


@pytest.mark.parametrize(("asked", "filled"), [(None, 24.0), (16.0, 16.0), (80.0, 24.0)])
def test_of_a_gpu_no_more_is_filled_than_it_has(monkeypatch: pytest.MonkeyPatch, asked: float | None, filled: float) -> None:
    """What is asked for beyond that is planning's to scale; that no patch fits 80 GB of 24 would say nothing."""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=24_000_000_000))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    monkeypatch.setattr(devices, "choose", lambda name: torch.device("cuda"))
    assert calibrations.device(order(gpu_memory_gb=asked)) == calibrations.MeasuredOn(device="GPU", memory_gb=filled)
    monkeypatch.setattr(series, "Precision", lambda name, device: SimpleNamespace(name="bf16"))
    fake = Fake(1.0, 7 / 560_000_000)

    def measured(content: Any, precision: Any, where: Any, candidate: Any, batch: int) -> int | None:
        return fake(candidate, batch) if fake.fits(candidate, 24) else None

    monkeypatch.setattr(series, "_measured", measured)
    lines: list[str] = []
    found = series.calibrate(
        planner("ExperimentPlanner"),
        dataset_json=DATASET_JSON,
        device=torch.device("cuda"),
        memory_gb=asked,
        dimensions=[3],
        say=lines.append,
    )
    assert (found.memory_gb, found.parameters["reference_gb"]) == (filled, filled)
    assert found.largest["3d"] == pytest.approx((filled - 1) / 7 * 560_000_000, rel=0.3)
    assert found.largest["3d"] <= (filled - 1) / 7 * 560_000_000
    assert ("GPU has 24 GB: it is calibrated for these; planning scales them to 80 GB" in lines) is (asked == 80)


def test_planners_use_what_was_measured(fake: Fake) -> None:
    calibration = json.loads(json.dumps(calibrated(memory_gb=24.0).content()))
    notes: list[str] = []
    options: dict[str, Any] = {"dataset_name": "Dataset050_CT", "reader": "SimpleITKIO"}
    plans = plan(FINGERPRINT, DATASET_JSON, **options, calibration=calibration, notes=notes)
    same = plan(FINGERPRINT, DATASET_JSON, **options, parameters=calibration["parameters"])
    assert plans["calibration"]["about"] == calibration["about"]
    assert plans["configurations"] == same["configurations"]
    assert any(line.startswith("calibrated without a GPU") for line in notes)
    assert "planner ExperimentPlanner, plans nnUNetPlans, for 24 GB of GPU memory" in notes
    # In plans that say so the estimate is by what was measured.
    estimates = [Plans(each).configuration("3d_fullres").estimated_gpu_memory_gb for each in (plans, same)]
    assert estimates[0] != estimates[1]
    assert 18 < (estimates[0] or 0) <= 24


SMALL = {**FINGERPRINT, "shapes_after_crop": [[120, 240, 240]] * 3}
"""Images without 3d_lowres, whose planning takes the time."""
MEDNEXT = {"architecture": {"name": "MedNeXt", "size": "B"}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (MEDNEXT, "it is of the architecture PlainConvUNet; this one is MedNeXt, size B, kernel 3"),
        ({"residual": True}, "it is of the architecture PlainConvUNet; this one is ResidualEncoderUNet"),
        ({"memoryEstimate": "GenericUNet"}, "it is of the memoryEstimate OfArchitecture; this one is GenericUNet"),
        ({"baseFeatures": 16}, "it is of the baseFeatures 32; this one is 16"),
        ({"referenceBatch2d": 6}, "it is of the referenceBatch2d 12; this one is 6"),
    ],
)
def test_a_calibration_is_of_one_network_and_estimate(fake: Fake, changes: dict[str, Any], said: str) -> None:
    """A configuration of the same planner with something else keeps its own reference; plans of it are refused."""
    calibration = json.loads(json.dumps(calibrated(memory_gb=24.0).content()))
    options: dict[str, Any] = {"dataset_name": "Dataset050_CT", "reader": "SimpleITKIO"}
    notes: list[str] = []
    override = {"2d": {"parameters": changes}}
    plans = plan(SMALL, DATASET_JSON, **options, calibration=calibration, per_configuration=override, notes=notes)
    assert f"2d: not by the calibration, {said}" in notes
    without = plan(SMALL, DATASET_JSON, **options, per_configuration=override)
    assert plans["configurations"]["2d"] == without["configurations"]["2d"]
    assert plans["configurations"]["3d_fullres"] != without["configurations"]["3d_fullres"]
    with pytest.raises(BadConfiguration, match=said):
        plan(SMALL, DATASET_JSON, **options, parameters=changes, calibration=calibration)


def test_a_reference_that_was_given_gives_way_with_a_note(fake: Fake) -> None:
    calibration = calibrated(memory_gb=24.0).content()
    notes: list[str] = []
    options: dict[str, Any] = {"dataset_name": "Dataset050_CT", "reader": "SimpleITKIO", "calibration": calibration}
    plan(SMALL, DATASET_JSON, **options, parameters={"reference2d": 1e8, "minBatchSize": 2}, notes=notes)
    value = f"{calibration['parameters']['reference2d']:,.10g}"
    assert f"reference2d 100,000,000 of the parameters gives way to what was measured, {value}" in notes
    assert len([line for line in notes if "gives way" in line]) == 1


def test_what_was_measured_is_of_the_architectures_batch(fake: Fake) -> None:
    """v1's planners have another reference batch than an architecture that is given to them."""
    parameters = {"architecture": {"name": "ResidualEncoderUNet"}}
    calibration = series.calibrate(
        planner("ExperimentPlanner3D_v21", parameters), dataset_json=DATASET_JSON, device=torch.device("cpu"), memory_gb=8.0
    ).content()
    assert calibration["referenceBatch2d"] == 12
    options: dict[str, Any] = {"dataset_name": "Dataset050_CT", "reader": "SimpleITKIO", "planner": "ExperimentPlanner3D_v21"}
    found = plan(SMALL, DATASET_JSON, **options, parameters=parameters, calibration=calibration)
    asked = {**parameters, **calibration["parameters"], "referenceBatch3d": 2, "referenceBatch2d": 12}
    assert found["configurations"] == plan(SMALL, DATASET_JSON, **options, parameters=asked)["configurations"]


@pytest.mark.parametrize("chosen", ["PlainConvUNet", "ResidualEncoderUNet", "FabiansUNet", "MedNeXt"])
def test_estimates_are_by_what_was_measured_of_the_network(fake: Fake, chosen: str) -> None:
    """Also where the network is a parameter of the planner."""
    parameters = {"architecture": {"name": chosen}}
    options: dict[str, Any] = {"dataset_name": "Dataset050_CT", "reader": "SimpleITKIO", "parameters": parameters}
    calibration = series.calibrate(
        planner("ExperimentPlanner", parameters), dataset_json=DATASET_JSON, device=torch.device("cpu"), memory_gb=24.0
    ).content()
    content = plan(SMALL, DATASET_JSON, **options, calibration=json.loads(json.dumps(calibration)))
    found = Plans(content).configuration("3d_fullres")
    assert 18 < (found.estimated_gpu_memory_gb or 0) <= 24.5
    doubled = {**calibration["parameters"], "referenceGb": 48}
    content["calibration"] = {**content["calibration"], "parameters": doubled}
    twice = Plans(content).configuration("3d_fullres").estimated_gpu_memory_gb
    assert twice == pytest.approx(2 * (found.estimated_gpu_memory_gb or 0), abs=0.02)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"planner": "ExperimentPlanner"}, "parameters are None"),
        ({"planner": "ExperimentPlanner", "parameters": {"reference3d": -1}}, "positive numbers"),
        (
            {"planner": "ResEncUNetPlanner", "parameters": {"reference3d": 1}},
            "of the planner ResEncUNetPlanner; this one is Exp",
        ),
        ({"planner": "ExperimentPlanner", "parameters": {"reference3d": 1, "referenceGb": 24}}, "have no reference2d"),
        ({"planner": "ExperimentPlanner", "parameters": {"reference3": 1}}, "Did you mean reference3d"),
    ],
)
def test_what_is_no_calibration(content: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfiguration, match=said):
        references(content, planner("ExperimentPlanner"))


def test_the_command_counts_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a narrow U-Net: a number of its feature maps takes as many bytes as one of nnU-Net's reference, within the margin."""
    monkeypatch.setitem(series.SMALL_EDGES, 3, (16, 24))
    out = tmp_path / "calibration.json"
    parameters = '{"baseFeatures": 8, "maxFeatures3d": 32}'
    command = ["calibrate", "--parameters", parameters, "--dimensions", "3", "--device", "cpu", "-o", str(out)]
    assert cli.main(command) == 0
    found = json.loads(out.read_text())
    assert (found["scaledDown"], found["device"], found["memoryGB"]) == (True, "CPU", 8)
    assert found["parameters"]["reference3d"] == pytest.approx(560_000_000, rel=0.3)
    assert "without a GPU" in capsys.readouterr().out
    assert cli.main([*command, "--margin", "1"]) == 64
