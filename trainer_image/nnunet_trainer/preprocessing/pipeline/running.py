"""Carrying out the preprocessing steps of a configuration, one after another."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Component
from nnunet_trainer.extensions.calls import guarded
from nnunet_trainer.planning.plans import Configuration, component_entries, preprocessing_steps
from nnunet_trainer.planning.plans.names import STEPWISE
from nnunet_trainer.planning.plans.preprocessing_steps import KIND

from .registry import CaseState

REGION = 1
"""Bytes a voxel that own steps hold: where the image is not zero."""
CHANNEL = 24
"""Bytes a voxel that a step works with, a channel at a time: N4's image, mask and field; the values that percentiles are of."""


def bytes_per_voxel(configuration: Configuration) -> int:
    """What own steps take beside nnU-Net's, for each voxel of one channel."""
    return REGION + CHANNEL if configuration.preprocessor_name == STEPWISE else 0


def carry_out(arrays: list[np.ndarray], case: CaseState) -> np.ndarray:
    """The images (c, z, y, x), as the network sees them.

    Args:
        arrays: the images alone, float32; the list is emptied, so that nothing is held longer than it is needed.
        case: what is known of them; its properties and segmentation change.

    Raises:
        BadConfiguration: a step that there is not, a wrong parameter; a plug-in's step fails, or makes another shape, or NaN.
        BadData: a case that a step cannot work with.
    """
    content = case.configuration.content
    if found := preprocessing_steps.faults(content):
        raise BadConfiguration("InvalidPlans", f"configurations.{case.configuration.name}: {'; '.join(found)}.")
    chosen = preprocessing_steps.without_origins(preprocessing_steps.of(content))
    steps = [component_entries.resolved(KIND, step) for step in chosen]
    images = arrays.pop()
    for component, parameters in steps:
        case.shape = tuple(images.shape[1:])
        if component.plugin is None:
            made = component.make(images, case, **parameters)
        else:
            made = _plugins(component, images, case, parameters)
        images = images if made is None else made
        del made
        case.shape = tuple(images.shape[1:])
    return images


def _plugins(component: Component[Any], images: np.ndarray, case: CaseState, parameters: dict[str, Any]) -> np.ndarray:
    """What a plug-in's step has made, once it is seen to be images of that shape."""
    where = f"The preprocessing step {component.name} ({component.place})"
    shape = images.shape
    made = guarded(where, component.make, images, case, **parameters)
    made = images if made is None else made
    if np.shape(made) != shape:
        hint = "Change the images in place, or return others of their shape."
        raise BadConfiguration("PluginResult", f"{where} made {np.shape(made)} of images of shape {shape}.", hint=hint)
    made = np.ascontiguousarray(made, np.float32)
    for channel, image in enumerate(made):
        if not np.isfinite(image).all():
            hint = "Mend the plug-in: a division by zero, the logarithm of a negative number?"
            raise BadConfiguration("PluginResult", f"{where} made NaN or infinity in channel {channel}.", hint=hint)
    return made
