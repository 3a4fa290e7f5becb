"""nnU-Net's fingerprint extractor, which others derive from, and the registry of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nnunet_trainer.extensions import Registry


class DatasetFingerprintExtractor:
    """nnU-Net's: shapes after cropping, spacings, intensities of the foreground.

    A plug-in derives from it. What a case's own method answers comes to the dataset's, which may add fields to the fingerprint or
    replace those that are there; planners and `plan --explain` see them all. The constructor's keyword-only arguments are
    parameters (`spec.fingerprint.parameters`). Cases are read in processes of their own: an extractor keeps nothing between them.
    """

    def case(self, name: str, images: np.ndarray, seg: np.ndarray, spacing: Sequence[float]) -> Any:
        """What is to be known of one case; None for nothing.

        Args:
            name: of the case.
            images: float32 (c, z, y, x).
            seg: integers (z, y, x).
            spacing: mm along z, y, x.
        """
        return None

    def dataset(self, fingerprint: dict[str, Any], cases: Mapping[str, Any]) -> dict[str, Any]:
        """The fingerprint, from nnU-Net's own and what `case` has answered for each, in the order of their names."""
        return fingerprint


EXTRACTORS: Registry[Callable[..., DatasetFingerprintExtractor]] = Registry("extractor")
"""Classes derived from `DatasetFingerprintExtractor`."""

DEFAULT = "DatasetFingerprintExtractor"
EXTRACTORS.register(DEFAULT)(DatasetFingerprintExtractor)
