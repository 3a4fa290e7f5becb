"""What the numbers of an optimizer may be."""

from __future__ import annotations

from typing import Annotated

from nnunet_trainer.extensions import Range

Rate = Annotated[float, Range(0, low_open=True)]
Decay = Annotated[float, Range(0)]
Momentum = Annotated[float, Range(0, 1, high_open=True)]
