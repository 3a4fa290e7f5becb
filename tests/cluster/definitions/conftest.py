"""Definitions of other versions than this one."""

from __future__ import annotations

import pytest
from support.controlplane import ControlPlane


@pytest.fixture
def control_plane(private_control_plane: ControlPlane) -> ControlPlane:
    """One of this module alone: others must not meet the definitions of another version."""
    return private_control_plane
