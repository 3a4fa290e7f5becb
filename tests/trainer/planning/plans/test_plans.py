"""Reading plans: inheritance, old formats, patches, validation."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.planning.architectures.feature_maps import conv_feature_map_size
from nnunet_trainer.planning.plans import Plans, names
from nnunet_trainer.planning.plans.difference import difference, patch_between
from nnunet_trainer.planning.plans.patch import merge
from nnunet_trainer.planning.plans.validate import validate


def test_inheritance(plans: dict[str, Any]) -> None:
    plans["configurations"]["a"] = {"inherits_from": "3d_fullres", "batch_size": 9}
    plans["configurations"]["b"] = {"inherits_from": "a", "spacing": [1.0, 1.0, 1.0]}
    read = Plans(plans)
    b = read.configuration("b")
    assert (b.batch_size, b.spacing) == (9, [1.0, 1.0, 1.0])
    assert b.patch_size == read.configuration("3d_fullres").patch_size
    assert read.configuration("3d_cascade_fullres").previous_stage == "3d_lowres"
    assert read.configuration("3d_lowres").next_stages == ["3d_cascade_fullres"]


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"a": {"inherits_from": "b"}, "b": {"inherits_from": "a"}}, "in a circle: a → b → a"),
        ({"a": {"inherits_from": "a"}}, "in a circle: a → a"),
        ({"a": {"inherits_from": "3d_fullress"}}, "configurations.a.inherits_from is '3d_fullress'"),
    ],
)
def test_inheritance_that_leads_nowhere(plans: dict[str, Any], own: dict[str, Any], said: str) -> None:
    plans["configurations"].update(own)
    with pytest.raises(BadConfiguration) as caught:
        Plans(plans).configuration("a")
    assert said in caught.value.message


LEADING_ELSEWHERE = ("", ".", "..", "../x", "/etc", "a/b", "a\\b", "a\n", "a\x00", "x" * 300, 7, None)


@pytest.mark.parametrize("name", LEADING_ELSEWHERE)
@pytest.mark.parametrize("field", ["plans_name", "dataset_name", "configurations", "data_identifier"])
def test_no_name_of_a_folder_leads_elsewhere(plans: dict[str, Any], field: str, name: Any) -> None:
    if field == "data_identifier":
        plans["configurations"]["3d_fullres"][field] = name
    elif field == "configurations":
        plans[field] = {name: plans[field]["3d_fullres"]}
    else:
        plans[field] = name
    with pytest.raises(BadConfiguration) as caught:
        _ = Plans(plans).configuration("3d_fullres").data_identifier
    assert field in caught.value.message
    assert repr(name) in caught.value.message


@pytest.mark.parametrize("name", ["nnUNetPlans", "a b", "größe", "..a", "v1.0", "x" * 255])
def test_a_name_of_a_folder_is_nearly_any(plans: dict[str, Any], name: str) -> None:
    plans["plans_name"] = plans["configurations"]["3d_fullres"]["data_identifier"] = name
    assert Plans(plans).configuration("3d_fullres").data_identifier == Plans(plans).name == name


def test_an_unknown_configuration_names_the_known(plans: dict[str, Any]) -> None:
    with pytest.raises(BadConfiguration, match="Did you mean 3d_fullres") as caught:
        Plans(plans).configuration("3d_fulres")
    assert caught.value.reason == "UnknownConfiguration"


def test_preprocessing_fields_are_those_that_decide_the_data(plans: dict[str, Any]) -> None:
    fields = Plans(plans).configuration("3d_fullres").preprocessing_fields()
    same = deepcopy(plans)
    same["configurations"]["3d_fullres"].update(patch_size=[16, 16, 16], batch_size=1, data_identifier="other")
    assert Plans(same).configuration("3d_fullres").preprocessing_fields() == fields
    assert Plans(plans).configuration("3d_cascade_fullres").preprocessing_fields() == fields
    for change in (
        {"configurations": {"3d_fullres": {"spacing": [1.0, 1.0, 1.0]}}},
        {"configurations": {"3d_fullres": {"normalization_schemes": ["ZScoreNormalization"]}}},
        {"foreground_intensity_properties_per_channel": {"0": {"mean": 5.0}}},
        {"transpose_forward": [1, 0, 2]},
    ):
        assert Plans(merge(plans, change)).configuration("3d_fullres").preprocessing_fields() != fields


def old_format(plans: dict[str, Any]) -> dict[str, Any]:
    """As nnU-Net 2.0 wrote them."""
    old = deepcopy(plans)
    for name, configuration in old["configurations"].items():
        if "architecture" not in configuration:
            continue
        arguments = configuration.pop("architecture")["arch_kwargs"]
        configuration.update(
            UNet_class_name="PlainConvUNet",
            UNet_base_num_features=32,
            n_conv_per_stage_encoder=arguments["n_conv_per_stage"],
            n_conv_per_stage_decoder=arguments["n_conv_per_stage_decoder"],
            num_pool_per_axis=[0, 0, 0],
            pool_op_kernel_sizes=arguments["strides"],
            conv_kernel_sizes=arguments["kernel_sizes"],
            unet_max_num_features=512 if name == "2d" else 320,
        )
    old["foreground_intensity_properties_by_modality"] = old.pop("foreground_intensity_properties_per_channel")
    return old


def test_plans_of_the_old_format(plans: dict[str, Any]) -> None:
    old = old_format(plans)
    kept = deepcopy(old)
    read = Plans(old)
    assert old == kept  # the argument stays as it is
    for name in plans["configurations"]:
        assert read.configuration(name).architecture == Plans(plans).configuration(name).architecture
    assert read.foreground_intensity_properties == plans["foreground_intensity_properties_per_channel"]


@pytest.mark.reference
def test_plans_of_the_old_format_as_the_wheel_reads_them(plans: dict[str, Any]) -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    old = old_format(plans)
    with pytest.warns(UserWarning, match="old nnU-Net plans"):
        theirs = PlansManager(deepcopy(old)).get_configuration("3d_lowres")
    assert Plans(old).configuration("3d_lowres").content == theirs.configuration


@pytest.mark.parametrize(
    "content", [{}, [], {"configurations": {}}, {"configurations": {}, "plans_name": "a", "dataset_name": "b"}]
)
def test_no_plans(content: Any) -> None:
    with pytest.raises(BadConfiguration):
        Plans(content)


def test_files(tmp_path: Path, plans: dict[str, Any]) -> None:
    path = tmp_path / "plans.json"
    with pytest.raises(BadConfiguration, match="cannot be read"):
        Plans.load(path)
    path.write_text("{")
    with pytest.raises(BadConfiguration, match="not JSON"):
        Plans.load(path)
    path.write_text(json.dumps(plans))
    assert Plans.load(path).content == plans


def test_merge() -> None:
    content = {"a": {"b": 1, "c": [1, 2]}, "d": None}
    assert merge(content, {"a": {"b": 2}}) == {"a": {"b": 2, "c": [1, 2]}, "d": None}
    assert merge(content, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}, "d": None}
    assert merge(content, {"a": {"b": None}}) == {"a": {"b": None, "c": [1, 2]}, "d": None}  # null deletes nothing
    assert merge(content, {"d": {"e": 1}, "f": {"g": 1}})["d"] == {"e": 1}
    assert content == {"a": {"b": 1, "c": [1, 2]}, "d": None}


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"2d": {"batch_size": 0}}, "configurations.2d.batch_size is 0, expected a positive integer"),
        ({"2d": {"batch_size": None}}, "configurations.2d.batch_size is None"),
        ({"2d": {"patch_size": [32]}}, "configurations.2d.patch_size is [32]"),
        ({"2d": {"patch_size": [512, 509]}}, "patch_size [512, 509] is no multiple"),
        ({"3d_fullres": {"patch_size": [64, 64]}}, "configurations.3d_fullres.spacing"),
        ({"3d_fullres": {"spacing": [1, 0, 1]}}, "configurations.3d_fullres.spacing is [1, 0, 1]"),
        ({"3d_fullres": {"normalization_schemes": ["CTNormalization"] * 2}}, "normalization_schemes"),
        ({"3d_fullres": {"architecture": {"arch_kwargs": {"features_per_stage": [8, 16]}}}}, "features_per_stage has 2 entries"),
        ({"3d_fullres": {"architecture": {"arch_kwargs": {"n_stages": 3}}}}, "n_stages is 3"),
        ({"3d_fullres": {"normalization_schemes": ["CT"]}}, "normalization_schemes names 'CT', expected one of CTNormalization"),
        ({"3d_fullres": {"use_mask_for_norm": ["yes"]}}, "use_mask_for_norm is ['yes'], expected true or false"),
        ({"3d_fullres": {"resampling_fn_seg": "resample"}}, "resampling_fn_seg names 'resample', expected one of"),
        (
            {"3d_fullres": {"preprocessor_name": "Mine"}},
            "preprocessor_name names 'Mine', expected one of DefaultPreprocessor, StepwisePreprocessor",
        ),
        ({"3d_lowres": {"previous_stage": "3d_cascade_fullres"}}, "leads in a circle: 3d_lowres → 3d_cascade_fullres → 3d_lowres"),
        ({"a": {"inherits_from": "b"}, "b": {"inherits_from": "a"}}, "inherit in a circle: a → b → a"),
        ({"mine": {"inherits_from": "nowhere"}}, "configurations.mine.inherits_from is 'nowhere'"),
        ({"3d_cascade_fullres": {"previous_stage": "gone"}}, "previous_stage is 'gone'"),
        ({"3d_lowres": {"next_stage": ["3d_cascade_fullres", "gone"]}}, "configurations.3d_lowres.next_stage is 'gone'"),
        (
            {"3d_lowres": {"next_stage": None}},
            "3d_cascade_fullres.previous_stage is '3d_lowres', whose next_stage does not name it",
        ),
    ],
)
def test_a_patch_that_breaks_plans(plans: dict[str, Any], dataset_json: dict[str, Any], patch: dict[str, Any], said: str) -> None:
    validate(plans, dataset_json)
    with pytest.raises(BadConfiguration) as caught:
        validate(merge(plans, {"configurations": patch}), dataset_json)
    assert said in caught.value.message


def test_every_name_that_plans_may_hold_stands_for_something() -> None:
    from nnunet_trainer.preprocessing import normalization
    from nnunet_trainer.preprocessing.resampling import resampling

    assert set(names.SCHEMES) == {name for name in normalization.NORMALIZATIONS if not normalization.NORMALIZATIONS[name].plugin}
    assert set(names.RESAMPLING) == {name for name in resampling.RESAMPLINGS if not resampling.RESAMPLINGS[name].plugin}


def test_estimated_memory(plans: dict[str, Any]) -> None:
    full = Plans(plans).configuration("3d_fullres")
    assert full.estimated_gpu_memory_gb == pytest.approx(8, rel=0.25)  # planned for 8 GB
    double = merge(plans, {"configurations": {"3d_fullres": {"batch_size": 2 * full.batch_size}}})
    assert Plans(double).configuration("3d_fullres").estimated_gpu_memory_gb == pytest.approx(
        2 * (full.estimated_gpu_memory_gb or 0), rel=0.01
    )


@pytest.mark.reference
@pytest.mark.parametrize("deep_supervision", [True, False])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_estimate_is_the_networks_own(dimensions: int, residual: bool, deep_supervision: bool) -> None:
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
    from torch import nn

    strides = [[1] * dimensions, [2] * dimensions, [1] + [2] * (dimensions - 1), [2] * dimensions]
    features = [8, 16, 32, 32]
    blocks = {"n_blocks_per_stage" if residual else "n_conv_per_stage": [1, 3, 2, 4]}
    arguments = {"n_stages": 4, "features_per_stage": features, "kernel_sizes": 3, "strides": strides, **blocks}
    arguments["n_conv_per_stage_decoder"] = [1, 2, 3]
    with torch.device("meta"):
        network = (ResidualEncoderUNet if residual else PlainConvUNet)(
            2, conv_op=nn.Conv3d if dimensions == 3 else nn.Conv2d, num_classes=5, deep_supervision=deep_supervision, **arguments
        )
    patch = [32, 48, 16][:dimensions]
    expected = network.compute_conv_feature_map_size(patch)
    assert conv_feature_map_size(patch, {"arch_kwargs": arguments}, 5, deep_supervision=deep_supervision) == expected


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1, "b": {"c": [1], "d": 2}}, {"a": 1, "b": {"c": [2], "d": 2}}, {"b": {"c": [2]}}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, {}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": 1}, {"a": 1, "b": None}, {"b": None}),
        ({"a": {}}, {"a": {"b": {"c": []}}}, {"a": {"b": {"c": []}}}),
    ],
)
def test_the_patch_between_two_plans(before: dict[str, Any], after: dict[str, Any], patch: dict[str, Any]) -> None:
    assert patch_between(before, after) == patch
    assert merge(before, patch) == after


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, "a.c is in the first plans alone"),
        ({"a": {"b": 1}}, {"a": [1]}, r"a is {…} in the first plans, \[1\] in the second"),
        ({"a": 1}, {"a": {"b": 1}}, "a is 1 in the first plans, {…} in the second"),
    ],
)
def test_what_no_patch_does(before: dict[str, Any], after: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfiguration, match=said):
        patch_between(before, after)


def test_difference() -> None:
    before, after = {"a": {"b": 1, "c": [1]}, "d": {"x": 1}}, {"a": {"b": 1, "c": [2]}, "e": None}
    assert list(difference(before, after)) == ["a.c: [1] → [2]", "d: {…} → absent", "e: absent → null"]
    assert list(difference(before, before)) == []


def test_merge_refuses_another_kind_of_value() -> None:
    with pytest.raises(BadConfiguration, match=r"patch\.a is \[1\], expected an object"):
        merge({"a": {"b": 1}}, {"a": [1]})
    with pytest.raises(BadConfiguration, match=r"patch\.a\.b is an object"):
        merge({"a": {"b": 1}}, {"a": {"b": {"c": 1}}})
