"""One case, in memory: preprocessed as its plans say, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration, BadData, unknown_name
from nnunet_trainer.dataset.description import channel_names
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.dataset.raw import Case
from nnunet_trainer.dataset.readers import by_name as reader_by_name
from nnunet_trainer.dataset.values import spacing_fault
from nnunet_trainer.planning.plans import Configuration, Plans
from nnunet_trainer.planning.plans.names import PREPROCESSORS, STEPWISE

from ..dataset.cropping import slices
from .locations import class_locations, classes_to_locate
from .pipeline import CaseState, carry_out
from .resampling.by_plans import resampled, resampling_of, target_spacing
from .resampling.by_slabs import Part, parts


def preprocess_image(
    images: np.ndarray,
    properties: dict[str, Any],
    plans: Plans,
    configuration: Configuration | str,
    dataset_json: dict[str, Any],
    segmentation: np.ndarray | None = None,
    *,
    with_segmentation: bool = True,
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Transpose, then the steps that the plans name: nnU-Net's crop to the nonzero region, normalize, resample.

    Args:
        images: float32 (c, z, y, x) in the file's axes. It may be worked on in place: pass a copy to keep it.
        properties: what the reader gave; `spacing` along the file's z, y, x.
        segmentation: (1, z, y, x), for training cases.
        with_segmentation: whether one is wanted (it says where the nonzero region is, without a label too); else it is empty.

    Returns:
        float32 (c, z, y, x), int16 (1, z, y, x) and the properties with all that the way back needs and, for a training case, the
        class locations. The segmentation is −1 outside the nonzero region.

    Raises:
        BadData: image and segmentation of different shapes, or a spacing that leaves no voxel, or more than there is memory for.
        BadConfiguration: plans that name what there is not.
    """
    arrays = [images, None if segmentation is None else _integers(segmentation)]
    return _preprocess(arrays, properties, plans, configuration, dataset_json, with_segmentation=with_segmentation)


def read_and_preprocess(
    case: Case, plans: Plans, configuration: Configuration | str, dataset_json: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """`preprocess_image` of a case's files, by the reader that the plans name."""
    reader = reader_by_name(plans.image_reader_writer)
    images, properties = reader.read_images(case.images)
    if len(images) != (wanted := len(channel_names(dataset_json))):
        files = ", ".join(path.name for path in case.images)
        raise BadData("InvalidCases", f"{len(images)} channels in {files}; dataset.json names {wanted}.")
    arrays = [images, None if case.label is None else _integers(reader.read_label(case.label))]
    del images
    return _preprocess(arrays, properties, plans, configuration, dataset_json)


def _preprocess(
    arrays: list[np.ndarray | None],
    properties: dict[str, Any],
    plans: Plans,
    configuration: Configuration | str,
    dataset_json: dict[str, Any],
    *,
    with_segmentation: bool = True,
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """`arrays` are the images and the segmentation; the list is emptied, so that nothing is held longer than it is needed."""
    segmentation, images = arrays.pop(), arrays.pop()
    assert images is not None
    if isinstance(configuration, str):
        configuration = plans.configuration(configuration)
    if configuration.preprocessor_name not in PREPROCESSORS:
        raise BadConfiguration("InvalidPlans", unknown_name("preprocessor", configuration.preprocessor_name, PREPROCESSORS))
    if segmentation is not None and segmentation.shape[1:] != images.shape[1:]:
        raise BadData("InvalidCases", f"The image has shape {_by(images.shape)}, its label {_by(segmentation.shape)}.")
    axes = (0, *(axis + 1 for axis in plans.transpose_forward))
    spacing = [float(properties["spacing"][axis]) for axis in plans.transpose_forward]
    if fault := spacing_fault(spacing):
        raise BadData("InvalidCases", f"{fault}.", hint="Correct the image's header.")
    arrays = [images.astype(np.float32, copy=False).transpose(axes)]
    labelled = segmentation is not None
    case = CaseState(
        configuration=configuration,
        dataset_json=dataset_json,
        spacing=spacing,
        segmentation=None if segmentation is None else segmentation.transpose(axes),
        properties={**properties, "shape_before_cropping": tuple(arrays[0].shape[1:])},
        stepwise=configuration.preprocessor_name == STEPWISE,
    )
    del images, segmentation
    # In nnU-Net's order normalization comes before resampling: a resampled nonzero mask would no longer fit the resampled image.
    data = carry_out(arrays, case)
    if not with_segmentation:
        return data, np.empty((1, 0, 0, 0), np.int16), case.properties
    assert case.segmentation is not None
    seg = case.resampled_labels(case.segmentation)
    if labelled:
        case.properties["class_locations"] = class_locations(seg, classes_to_locate(LabelManager(dataset_json)))
    return data, np.ascontiguousarray(seg, np.int16), case.properties


def revert_logits(logits: Any, properties: dict[str, Any], plans: Plans, configuration: Configuration) -> np.ndarray:
    """Resample logits (heads, z, y, x) from the configuration's spacing to the cropped case's shape; in their own type."""
    array = logits if isinstance(logits, np.ndarray) else logits.cpu().numpy()
    spacing = [float(properties["spacing"][axis]) for axis in plans.transpose_forward]
    shape = properties["shape_after_cropping_and_before_resampling"]
    return resampled(configuration, "probabilities", array, shape, target_spacing(configuration, spacing), spacing)


def revert_parts(shape: Sequence[int], properties: dict[str, Any], plans: Plans, configuration: Configuration) -> list[Part] | None:
    """How `revert_logits` of a head of a shape (z, y, x) can be done part by part; None where it cannot."""
    spacing = [float(properties["spacing"][axis]) for axis in plans.transpose_forward]
    cropped = properties["shape_after_cropping_and_before_resampling"]
    return parts(*resampling_of(configuration, "probabilities"), shape, cropped, target_spacing(configuration, spacing), spacing)


def revert_segmentation(segmentation: np.ndarray, properties: dict[str, Any], plans: Plans, labels: LabelManager) -> np.ndarray:
    """Put a segmentation (z, y, x) of the cropped case back into the file's shape and axes; background outside."""
    whole = np.zeros(tuple(properties["shape_before_cropping"]), segmentation_type(labels))
    whole[slices(properties["bbox_used_for_cropping"])] = segmentation
    return whole.transpose(plans.transpose_backward)


def segmentation_type(labels: LabelManager) -> type[np.unsignedinteger[Any]]:
    """The smallest type that holds a segmentation."""
    return np.uint8 if len(labels.foreground_labels) < 255 else np.uint16


def revert_probabilities(probabilities: np.ndarray, properties: dict[str, Any], plans: Plans, labels: LabelManager) -> np.ndarray:
    """The same for probabilities (heads, z, y, x): outside, background is certain (or all regions are absent)."""
    whole = np.zeros((len(probabilities), *properties["shape_before_cropping"]), probabilities.dtype)
    if not labels.has_regions:
        whole[0] = 1
    whole[(slice(None), *slices(properties["bbox_used_for_cropping"]))] = probabilities
    return whole.transpose(0, *(axis + 1 for axis in plans.transpose_backward))


def segmentation_from_logits(
    logits: Any, properties: dict[str, Any], plans: Plans, configuration: Configuration, labels: LabelManager
) -> np.ndarray:
    """A network's output (heads, z, y, x) as a segmentation in the file's shape and axes, ready for the reader's `write_seg`."""
    resampled = revert_logits(logits, properties, plans, configuration)
    return revert_segmentation(labels.convert_logits_to_segmentation(resampled), properties, plans, labels)


def _integers(segmentation: np.ndarray) -> np.ndarray:
    """A copy as int16, or int32 where a value needs it."""
    wide = segmentation.size and (segmentation.max() > 32767 or segmentation.min() < -32768)
    return segmentation.astype(np.int32 if wide else np.int16)


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape[1:]))
