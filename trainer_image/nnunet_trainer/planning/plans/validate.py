"""Whether plans can be worked with: every field that a step reads, checked against the others."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.dataset.description import channel_names

from . import normalization_schemes, preprocessing_steps, resampling_functions
from .names import PREPROCESSORS
from .plans import PREPROCESSING_FIELDS, Configuration, Plans

FIELDS = (
    *PREPROCESSING_FIELDS,
    "architecture",
    "batch_dice",
    "batch_size",
    "data_identifier",
    "inherits_from",
    "median_image_size_in_voxels",
    "next_stage",
    "patch_size",
    "previous_stage",
    "resampling_fn_probabilities",
    "resampling_fn_probabilities_kwargs",
    preprocessing_steps.FIELD,
)
DECISIVE = {"data_identifier", "patch_size", "spacing", "architecture"}


def validate(
    content: Mapping[str, Any], dataset_json: Mapping[str, Any] | None = None, *, spare_channels: bool = False
) -> list[str]:
    """Check plans.

    Args:
        content: plans.json's content.
        dataset_json: of the dataset they are for; None leaves the channels unchecked.
        spare_channels: plans may say something of more channels than the dataset has, as transferred ones do: nnU-Net reads what it
            needs, from the first on.

    Raises:
        BadConfiguration: with all faults, each with its field, what it holds and what was expected.
    """
    plans = Plans(dict(content))
    faults: list[str] = []
    orders = [content[field] for field in ("transpose_forward", "transpose_backward")]
    if not all(isinstance(order, list) and len(order) == 3 and set(order) == {0, 1, 2} for order in orders):
        faults.append(f"transpose_forward and transpose_backward are {orders[0]!r} and {orders[1]!r}, expected orders of 0, 1, 2")
    elif [plans.transpose_forward[axis] for axis in plans.transpose_backward] != [0, 1, 2]:
        faults.append(
            f"transpose_backward {plans.transpose_backward} is not the inverse of transpose_forward {plans.transpose_forward}"
        )
    channels = len(channel_names(dict(dataset_json))) if dataset_json else None
    for name in plans.configuration_names:
        configuration = plans.configuration(name)
        if not DECISIVE & set(configuration.content):
            faults.append(f"configurations.{name} {_incomplete(name, plans.configuration_names)}")
            continue
        faults += [f"configurations.{name}.{fault}" for fault in _configuration_faults(configuration, channels, spare_channels)]
        faults += [f"configurations.{name}.{fault}" for fault in _misspelt(configuration.content)]
        faults += _stage_faults(plans, name)
        faults += [f"configurations.{name}.{fault}" for fault in _neighbour_faults(plans, configuration)]
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise BadConfiguration(
            "InvalidPlans", f"Plans {plans.name}: {count}: {'; '.join(faults)}.", hint="Correct the patch or the plans."
        )
    return faults


def _neighbour_faults(plans: Plans, configuration: Configuration) -> Iterator[str]:
    """Both stages of a cascade name each other: the first predicts for those that it names, the second needs it."""
    before, known = configuration.previous_stage, plans.configuration_names
    for name in configuration.next_stages:
        if name not in known:
            yield f"next_stage is {name!r}, which the plans do not have"
    if before is None:
        return
    if before not in known:
        yield f"previous_stage is {before!r}, which the plans do not have"
    elif configuration.name not in plans.configuration(before).next_stages:
        yield f"previous_stage is {before!r}, whose next_stage does not name it: it would predict nothing for it"


def _stage_faults(plans: Plans, name: str) -> list[str]:
    """A cascade whose stages follow each other in a circle can never begin."""
    chain = [name]
    while (before := plans.configuration(chain[-1]).previous_stage) is not None and before in plans.configuration_names:
        if before in chain:
            return [f"configurations.{name}.previous_stage leads in a circle: {' → '.join([*chain, before])}"]
        chain.append(before)
    return []


def _incomplete(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, [other for other in names if other != name], n=1, cutoff=0.6)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"has neither inherits_from nor {', '.join(sorted(DECISIVE))}{meant}"


def _misspelt(content: Mapping[str, Any]) -> list[str]:
    """A field that nobody reads, but whose name is nearly one that is read."""
    found = []
    for field in content:
        near = [] if field in FIELDS else difflib.get_close_matches(field, FIELDS, n=1, cutoff=0.85)
        found += [f"{field} is read by nothing (did you mean {near[0]}?)" for _ in near]
    return found


def _configuration_faults(configuration: Configuration, channels: int | None, spare_channels: bool) -> list[str]:
    content = configuration.content
    faults = []

    def need(field: str, fits: Callable[[Any], bool], expected: str) -> bool:
        if field not in content:
            faults.append(f"{field} is missing")
        elif not fits(content[field]):
            faults.append(f"{field} is {content[field]!r}, expected {expected}")
        else:
            return True
        return False

    need("data_identifier", keys.is_one_name, "a folder's name")
    need("batch_size", _positive_int, "a positive integer")
    sized = need("patch_size", lambda v: _list_of(v, _positive_int) and len(v) in (2, 3), "two or three positive integers")
    if need("spacing", lambda v: _list_of(v, _positive) and len(v) in (2, 3), "two or three positive numbers") and sized:
        need("spacing", lambda v: len(v) == len(content["patch_size"]), "as many numbers as patch_size has")
    for field in ("normalization_schemes", "use_mask_for_norm"):
        need(
            field,
            lambda v: (
                isinstance(v, list)
                and bool(v)
                and (channels is None or len(v) == channels or (spare_channels and len(v) > channels))
            ),
            f"one entry for {_each(channels)}" if channels else "one entry a channel",
        )
    schemes = content.get("normalization_schemes")
    if isinstance(schemes, list):
        faults += normalization_schemes.faults(schemes)
    masks = content.get("use_mask_for_norm")
    if isinstance(masks, list) and not all(isinstance(mask, bool) for mask in masks):
        faults.append(f"use_mask_for_norm is {masks!r}, expected true or false for each channel")
    faults += _unknown("preprocessor_name", [content.get("preprocessor_name", PREPROCESSORS[0])], PREPROCESSORS)
    faults += preprocessing_steps.faults(content, channels)
    for what in ("data", "seg", "probabilities"):
        faults += resampling_functions.faults(what, content)
    if need("architecture", lambda v: isinstance(v, Mapping) and isinstance(v.get("arch_kwargs"), Mapping), "a network") and sized:
        faults += [f"architecture.{fault}" for fault in _network_faults(content["architecture"], content["patch_size"])]
    return faults


def _each(channels: int) -> str:
    return "the 1 channel" if channels == 1 else f"each of the {channels} channels"


def _unknown(field: str, names: Sequence[Any], known: Sequence[str]) -> list[str]:
    return [f"{field} names {name!r}, expected one of {', '.join(known)}" for name in names if name not in known]


def _network_faults(architecture: Mapping[str, Any], patch_size: list[int]) -> list[str]:
    """Of the U-Nets that nnU-Net plans; another network's arguments are its own affair."""
    if not isinstance(architecture.get("network_class_name"), str):
        return ["network_class_name is missing"]
    given = architecture["arch_kwargs"]
    if "n_stages" not in given or "strides" not in given:
        return []
    stages = given["n_stages"]
    if not _positive_int(stages):
        return [f"arch_kwargs.n_stages is {stages!r}, expected a positive integer"]
    faults = []
    for field, count in (
        ("features_per_stage", stages),
        ("kernel_sizes", stages),
        ("strides", stages),
        ("n_conv_per_stage", stages),
        ("n_blocks_per_stage", stages),
        ("n_conv_per_stage_decoder", stages - 1),
    ):
        value = given.get(field)
        if isinstance(value, list) and len(value) != count:
            faults.append(f"arch_kwargs.{field} has {len(value)} entries, expected {count} (n_stages is {stages})")
    features = given.get("features_per_stage")
    if isinstance(features, list) and not all(_positive_int(n) for n in features):
        faults.append(f"arch_kwargs.features_per_stage is {features!r}, expected positive integers")
    strides = given["strides"]
    if not isinstance(strides, list):
        faults.append(f"arch_kwargs.strides is {strides!r}, expected a list, one entry a stage")
    if faults:
        return faults
    per_axis = [s if isinstance(s, list) else [s] * len(patch_size) for s in strides]
    if any(len(s) != len(patch_size) for s in per_axis):
        return [f"arch_kwargs.strides is {strides!r}, expected {len(patch_size)} numbers a stage, as patch_size has"]
    divisor = [math.prod(s[axis] for s in per_axis) for axis in range(len(patch_size))]
    if any(n % d for n, d in zip(patch_size, divisor, strict=True)):
        faults.append(f"arch_kwargs.strides divide the patch by {divisor}, and patch_size {patch_size} is no multiple of that")
    return faults


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _positive_int(value: Any) -> bool:
    return _positive(value) and isinstance(value, int)


def _list_of(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and bool(value) and all(fits(v) for v in value)
