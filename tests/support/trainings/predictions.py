"""What prediction does with images, looked at while it does it."""

from typing import Any

import numpy as np
import pytest
from nnunet_trainer.inference import prediction


def preprocessed_for_prediction(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Fills with what each image that is predicted is preprocessed to, by its spacing as text."""
    seen: dict[str, np.ndarray] = {}
    preprocess_image = prediction.preprocess_image

    def spied(images: np.ndarray, properties: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        found = preprocess_image(images, properties, *arguments, **options)
        seen[str(properties["spacing"])] = found[0].copy()
        return found

    monkeypatch.setattr(prediction, "preprocess_image", spied)
    return seen
