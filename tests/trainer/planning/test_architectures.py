"""Architectures: what planners know of networks, their references, and plug-ins that say something impossible."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import load_plugins
from nnunet_trainer.planning.architectures import ARCHITECTURES, of_network, output_strides
from nnunet_trainer.planning.gpu_memory import estimate_gb
from nnunet_trainer.planning.planner_presets import PLANNERS, planner
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.planning.plans import Plans, beyond_nnunet
from support.plugins import isolated, write

from .conftest import DATASET_JSON, FINGERPRINT


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with isolated():
        yield


def planned(name: str = "ExperimentPlanner", **parameters: Any) -> Plans:
    return Plans(
        plan(FINGERPRINT, DATASET_JSON, dataset_name="Dataset001_A", reader="SimpleITKIO", planner=name, parameters=parameters)
    )


@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("dimension", ["3d", "2d"])
def test_references_are_nnunets(name: str, dimension: str) -> None:
    """Of an architecture those of the planner that nnU-Net has for it."""
    preset = PLANNERS["ExperimentPlanner" if name == "PlainConvUNet" else "ResEncUNetPlanner"].make()
    reference = ARCHITECTURES[name].make().reference
    expected = {"3d": preset.reference_3d, "2d": preset.reference_2d}[dimension]
    assert {"3d": reference.three, "2d": reference.two}[dimension] == expected


def test_another_architecture_brings_its_references() -> None:
    residual = planner("ExperimentPlanner", {"architecture": {"name": "ResidualEncoderUNet"}})
    assert (residual.reference_3d, residual.reference_2d) == (680_000_000, 135_000_000)
    own = planner("ExperimentPlanner", {"architecture": {"name": "ResidualEncoderUNet"}, "reference3d": 1e9})
    assert (own.reference_3d, own.reference_2d) == (1e9, 85_000_000)
    kept = planner("MedNeXtPlanner", {"architecture": {"name": "MedNeXt", "size": "L", "kernel": 5}})
    assert kept.reference_3d == planner("MedNeXtPlanner").reference_3d


@pytest.mark.parametrize(
    ("name", "chosen", "network", "references"),
    [
        ("nnUNetPlannerResEncL", "ResidualEncoderUNet", "ResidualEncoderUNet", (24, 2_100_000_000, 380_000_000)),
        ("nnUNetPlannerResEncL", "PlainConvUNet", "PlainConvUNet", (8, 560_000_000, 85_000_000)),
        ("nnUNetPlannerResEncL", "FabiansUNet", "ResidualEncoderUNet", (8, 1_230_348_801, 1_244_233_721 / 6)),
        ("nnUNetPlannerResEncM", "MedNeXt", "MedNeXt", (8, 560_000_000 / 0.75, 85_000_000 / 0.75)),
        ("ExperimentPlanner", "PlainConvUNet", "PlainConvUNet", (8, 560_000_000, 85_000_000)),
        ("ExperimentPlanner", "ResidualEncoderUNet", "ResidualEncoderUNet", (8, 680_000_000, 135_000_000)),
    ],
)
def test_the_architecture_that_is_given_decides(
    name: str, chosen: str, network: str, references: tuple[float, float, float]
) -> None:
    """A planner's references stay where it is the one that they are of."""
    made = planner(name, {"architecture": {"name": chosen}})
    assert made.network.network == network
    assert (made.reference_gb, made.reference_3d, made.reference_2d) == references
    found = planned(name, architecture={"name": chosen}).configuration("3d_fullres").architecture
    assert found["network_class_name"].rpartition(".")[2] == network
    if chosen == planner(name).network_choice.name:
        assert planned(name, architecture={"name": chosen}).content["configurations"] == planned(name).content["configurations"]


def test_residual_and_another_architecture() -> None:
    with pytest.raises(BadConfiguration, match="is given residual: true, and the architecture MedNeXt"):
        planner("ExperimentPlanner", {"architecture": {"name": "MedNeXt"}, "residual": True})


def test_the_network_decides_how_slices_are_compared_with_the_reference() -> None:
    """Residual ones by a whole reference batch, as their planners do, however the network was chosen."""
    references = {"reference3d": 680_000_000, "reference2d": 135_000_000}
    ours = planned(residual=True, **references).configuration("2d")
    theirs = planned(architecture={"name": "ResidualEncoderUNet"}).configuration("2d")
    assert (ours.patch_size, ours.batch_size) == (theirs.patch_size, theirs.batch_size)
    small = {"reference2d": 20_000_000}
    plain, residual = planned(**small), planned("ResEncUNetPlanner", architecture={"name": "ResidualEncoderUNet"}, **small)
    assert residual.configuration("2d").content == planned("ResEncUNetPlanner", **small).configuration("2d").content
    assert residual.configuration("2d").patch_size < plain.configuration("2d").patch_size


@pytest.mark.parametrize("name", ["ExperimentPlanner3D_v21", "ExperimentPlanner3DFabiansResUNet_v21"])
@pytest.mark.parametrize("chosen", ["PlainConvUNet", "ResidualEncoderUNet", "FabiansUNet", "MedNeXt"])
def test_v1s_planners_with_another_architecture(name: str, chosen: str) -> None:
    """Theirs are estimates of their own networks."""
    made = planner(name, {"architecture": {"name": chosen}})
    own = planner(name).network_choice.name == chosen
    assert made.memory_estimate.name == (planner(name).memory_estimate.name if own else "OfArchitecture")
    found = planned(name, architecture={"name": chosen}).configuration("2d")
    assert found.architecture["network_class_name"].rpartition(".")[2] == ARCHITECTURES[chosen].make().network


@pytest.mark.parametrize(
    ("estimate", "chosen", "lacks"),
    [
        ("FeatureMaps", "MedNeXt", "MedNeXt has no n_conv_per_stage_decoder"),
        ("FabiansUNet", "MedNeXt", "MedNeXt has no n_conv_per_stage_decoder"),
        ("GenericUNet", "Primus", "Primus has no strides, features_per_stage"),
        (
            "FeatureMaps",
            "Primus",
            "Primus has no strides, features_per_stage, n_blocks_per_stage or n_conv_per_stage, n_conv_per_stage_decoder",
        ),
    ],
)
def test_estimates_of_u_nets_for_others(estimate: str, chosen: str, lacks: str) -> None:
    with pytest.raises(BadConfiguration, match=f"The memory estimate {estimate} needs a U-Net's arguments; {lacks}"):
        planned(architecture={"name": chosen}, memoryEstimate={"name": estimate}, pooling="EveryAxis")


def test_v1s_estimate_of_a_residual_network() -> None:
    found = planned("ExperimentPlanner3D_v21", architecture={"name": "ResidualEncoderUNet"}, memoryEstimate="GenericUNet")
    assert found.configuration("2d").batch_size >= 1


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_architecture_is_planned(name: str) -> None:
    pooling = {"pooling": "EveryAxis"} if name.startswith("Primus") else {}
    plans = planned(architecture={"name": name}, **pooling)
    said = beyond_nnunet.lines(plans.content)
    assert bool(said) is (name == "MedNeXt"), said  # the others are nnU-Net's too
    assert all("it has no network MedNeXt" in line for line in said)
    for label in ("3d_fullres", "3d_lowres", "2d"):
        found = plans.configuration(label)
        network = found.architecture["network_class_name"].rpartition(".")[2]
        expected = "PlainConvUNet" if label == "2d" and name.startswith("Primus") else ARCHITECTURES[name].make().network
        assert network == expected
        assert found.estimated_gpu_memory_gb is not None
        assert found.estimated_gpu_memory_gb > 0


def test_mednext_is_the_papers() -> None:
    """Five stages, and its sizes."""
    found = planned("MedNeXtPlanner", architecture={"name": "MedNeXt", "size": "L", "kernel": 5}).configuration("3d_fullres")
    kwargs = found.architecture["arch_kwargs"]
    assert kwargs["features_per_stage"] == [32, 64, 128, 256, 512]
    assert kwargs["n_blocks_per_stage"], kwargs["n_blocks_per_stage_decoder"] == ([3, 4, 8, 8, 8], [8, 8, 4, 3])
    assert kwargs["expansion_per_stage_decoder"] == [8, 8, 4, 3]
    assert {k for row in kwargs["kernel_sizes"] for k in row} == {1, 5}
    assert len(output_strides(found.architecture) or []) == 5  # the bottleneck has an output


def test_primus_is_planned_for_its_patch() -> None:
    found = planned("PrimusPlanner").configuration("3d_fullres")
    assert found.architecture["arch_kwargs"]["input_shape"] == found.patch_size
    assert not any(n % 8 for n in found.patch_size)
    assert output_strides(found.architecture) is None


@pytest.mark.parametrize("name", ["MedNeXt", "Primus", "PrimusV2", "PrimusV3"])
def test_more_takes_more(name: str) -> None:
    """A larger size and a larger patch; of MedNeXt M's checkpointed blocks less than B's."""
    estimates = {}
    for size in "SBML":
        planner_name = "MedNeXtPlanner" if name == "MedNeXt" else "PrimusPlanner"
        found = planned(planner_name, architecture={"name": name, "size": size}).configuration("3d_fullres")
        of, kwargs = of_network(name), found.architecture["arch_kwargs"]
        assert of is not None
        estimates[size] = of.estimate([64, 64, 64], kwargs, 1, 2)
        assert of.estimate([128, 64, 64], kwargs, 1, 2) > estimates[size]
    assert estimates["S"] < estimates["B"]
    assert estimates["M"] < (estimates["L"] if name != "MedNeXt" else estimates["B"])


def plugin(root: Path, body: str) -> None:
    text = "from nnunet_trainer.extensions import register\n"
    text += "from nnunet_trainer.planning.architectures import Architecture, Reference\n\n\n" + body
    write(root, "mine", mine=text)
    load_plugins(root, ["mine"])


GOOD = """
@register("architecture", "Mine")
class Mine(Architecture):
    network = "MyNet"
    reference = Reference(three=1e6, two=1e6)

    def describe(self, configuration, topology):
        return {"network_class_name": "MyNet", "arch_kwargs": {"features": configuration.features(2)}}

    def estimate(self, patch, arch_kwargs, channels, outputs):
        return ESTIMATE
"""


def test_ones_own_is_planned_with_its_estimate(tmp_path: Path) -> None:
    plugin(tmp_path, GOOD.replace("ESTIMATE", "10.0 * patch[0]"))
    plans = planned(architecture={"name": "Mine"})
    assert len([line for line in beyond_nnunet.lines(plans.content) if "MyNet" in line]) == 1
    found = plans.configuration("3d_fullres")
    assert found.architecture["arch_kwargs"] == {"features": [32, 64]}
    assert plans.content["plugins"][0]["components"] == ["architecture Mine"]
    # 10 for each voxel along z, of 1e6 that two patches fill 8 GB with.
    expected = 8 * 10 * found.patch_size[0] * found.batch_size / 2e6
    assert found.estimated_gpu_memory_gb == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("value", ["-5", "float('nan')", "float('inf')", "'much'", "True", "None"])
def test_impossible_estimates(tmp_path: Path, value: str) -> None:
    plugin(tmp_path, GOOD.replace("ESTIMATE", value))
    said = rf"memory estimate of the architecture of MyNet \(\S+mine.py:\d+\) is {eval(value)!r} for a patch of \d+×\d+×\d+ voxels"
    with pytest.raises(BadConfiguration, match=said):
        planned(architecture={"name": "Mine"})
    with pytest.raises(BadConfiguration, match=r"is .* for a patch of 8×8×8 voxels"):
        estimate_gb([8, 8, 8], 2, {"network_class_name": "MyNet", "arch_kwargs": {}}, "ExperimentPlanner")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('register("architecture", "Mine")(lambda: None)', "a class derived from Architecture"),
        (GOOD.replace('    network = "MyNet"\n', ""), "an attribute `network`"),
        (GOOD.replace("    reference = Reference(three=1e6, two=1e6)\n", ""), "an attribute `reference`"),
        (GOOD + "\n    def __init__(self, *, width):\n        pass\n", "a default for each parameter"),
    ],
)
def test_what_is_no_architecture(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(BadConfiguration, match=said):
        plugin(tmp_path, body)


@pytest.mark.parametrize(
    ("described", "said"), [("None", "answers None"), ("{}", r"answers \{\}"), ("{'network_class_name': 'MyNet'}", "arch_kwargs")]
)
def test_what_describes_no_network(tmp_path: Path, described: str, said: str) -> None:
    start, end = GOOD.index('        return {"network'), GOOD.index("    def estimate")
    plugin(tmp_path, GOOD[:start] + f"        return {described}\n\n" + GOOD[end:].replace("ESTIMATE", "1"))
    with pytest.raises(BadConfiguration, match=said):
        planned(architecture={"name": "Mine"})
