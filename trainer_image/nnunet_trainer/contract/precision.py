"""Number formats of a network, by the names that recipes, checkpoints and the command line know."""

from __future__ import annotations

from typing import Literal, get_args

PrecisionName = Literal["auto", "fp32", "fp16", "bf16"]
PRECISIONS: tuple[PrecisionName, ...] = get_args(PrecisionName)
