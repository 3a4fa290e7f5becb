"""Kubernetes quantities."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.local.machine.kubelet import resources


@pytest.mark.parametrize(("text", "value"), [("500m", 0.5), ("2", 2), ("2Gi", 2**31), ("1.5k", 1500), (4, 4), ("1e3", 1000)])
def test_quantities(text: Any, value: float) -> None:
    assert resources.quantity(text) == value


def test_a_quantity_that_is_none() -> None:
    with pytest.raises(ValueError, match="'lots' is no quantity"):
        resources.quantity("lots")
