"""How many voxels are worked on at once, by the kind of device."""

from __future__ import annotations

CACHED_VOXELS = 2**16
"""On a CPU: as float32 256 KiB, which stay in a core's cache."""
GPU_VOXELS = 2**25
"""On a GPU: what keeps it busy, and its memory small."""
