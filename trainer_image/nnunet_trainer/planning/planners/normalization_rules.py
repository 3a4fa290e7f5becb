"""The normalization scheme of each channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from nnunet_trainer.extensions import Choice, Registry
from nnunet_trainer.extensions.schema import Of

from ..planner_presets import PLANNERS, Planner, planner
from ..plans.names import MASKED, NORMALIZATION
from ..plans.normalization_schemes import Scheme, as_held
from .facts import DatasetFacts
from .steps import call, fail

NORMALIZATION_RULES: Registry[Callable[..., Sequence[Any]]] = Registry("planner step")
"""Functions `(dataset, **parameters) -> one scheme a channel`: its name, or `{"name": …}` and its parameters."""

MASK_BELOW = 3 / 4.0
"""A median image that cropping to the nonzero region leaves less of is normalized within that region."""

Chosen = Annotated[Choice, Of("normalization")]
NONE, CT2 = Choice(name="NoNormalization"), Choice(name="CT2Normalization")


def normalization(dataset: DatasetFacts) -> tuple[list[Scheme], list[bool]]:
    """The scheme of each channel as plans hold it, and whether it is taken inside the nonzero mask only."""
    step = dataset.planner.normalization_rule
    schemes = call("normalizationRule", step, dataset)
    count = len(dataset.channels)
    if not isinstance(schemes, (list, tuple)) or len(schemes) != count or not all(map(_is_scheme, schemes)):
        raise fail("normalizationRule", step, schemes, f"a list of {count} names of normalization schemes, one a channel,")
    held = [as_held(scheme) for scheme in schemes]
    small = dataset.fingerprint["median_relative_size_after_cropping"] < MASK_BELOW
    return held, [bool(small and scheme == MASKED) for scheme in held]


def _is_scheme(found: Any) -> bool:
    return isinstance(found, str | Choice) or (isinstance(found, Mapping) and isinstance(found.get("name"), str))


def mask_reason(fingerprint: Mapping[str, Any]) -> str:
    """Why the nonzero mask is used, or not."""
    return f"cropping to it leaves {100 * fingerprint['median_relative_size_after_cropping']:.1f} % of a median image (limit 75 %)"


def recomputed(
    plans: Mapping[str, Any], fingerprint: Mapping[str, Any], dataset_json: Mapping[str, Any]
) -> tuple[list[Scheme], list[bool]]:
    """The same for another dataset's channels, by the planner that plans were made by (nnU-Net's default if it is not known)."""
    name = plans.get("experiment_planner_used")
    kind = planner(name) if isinstance(name, str) and name in PLANNERS else Planner()
    none = np.empty((0, 3))
    return normalization(
        DatasetFacts(
            planner=kind, fingerprint=fingerprint, dataset_json=dataset_json, spacings=none, shapes=none, say=lambda line: None
        )
    )


@NORMALIZATION_RULES.register("ByChannelName")
def by_channel_name(dataset: DatasetFacts) -> Sequence[str]:
    """CT, noNorm, rescale_to_0_1 and rgb_to_0_1 by the channel's name, any other channel by its own mean and deviation."""
    return [NORMALIZATION.get(name.casefold(), MASKED) for name in dataset.channels]


@NORMALIZATION_RULES.register("SameForAll")
def same_for_all(dataset: DatasetFacts, *, scheme: Chosen = NONE) -> Sequence[Any]:
    """One scheme for every channel, whatever its name; none at all unless another is named."""
    return [scheme] * len(dataset.channels)


@NORMALIZATION_RULES.register("SchemeForCT")
def scheme_for_ct(dataset: DatasetFacts, *, scheme: Chosen = CT2) -> Sequence[Any]:
    """One scheme for channels named CT (exactly so), mean and deviation for all others: v1's ExperimentPlannerCT2."""
    return [scheme if name == "CT" else MASKED for name in dataset.channels]
