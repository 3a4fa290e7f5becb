"""With what the components of each kind are called: a plug-in's one that takes something else is refused when it registers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "extractor": (),
    "planner": (),
    "targetSpacingRule": ("dataset",),
    "normalizationRule": ("dataset",),
    "initialPatch": ("configuration",),
    "pooling": ("configuration", "patch"),
    "architecture": (),
    "convolutionsPerStage": ("configuration", "stages"),
    "memoryEstimate": ("configuration", "patch", "architecture"),
    "shrunkAxis": ("configuration", "patch"),
    "patchAndBatch": ("configuration",),
    "lowResolution": ("fullres",),
    "preprocessingStep": ("images", "case"),
    "normalization": ("image", "seg", "use_mask", "properties"),
    "resampling": ("data", "new_shape", "current_spacing", "new_spacing"),
    "reader": (),
    "network": ("arch_kwargs", "channels_in", "channels_out", "deep_supervision"),
    "loss": ("context",),
    "optimizer": ("parameter_groups",),
    "schedule": ("epochs",),
    "augmentation": (),
}
"""By kind, in order; of a class what its constructor is given. The names are a plug-in's own affair."""

WITHOUT_PARAMETERS = ("planner",)
"""The kinds whose components a manifest names without parameters."""

PLANS_KEYWORDS = ("resampling",)
"""The kinds that plans give further arguments by their names."""


def check(kind: str, name: str, make: Callable[..., Any]) -> None:
    """That a component takes what it will be given, and that its parameters can be seen.

    Raises:
        BadConfiguration: it takes fewer or more arguments; it has parameters that nobody could set, being not keyword-only.
    """
    try:
        arguments = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # not written in Python
        return
    positional = [a for a in arguments if a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD)]
    expected, given = ARGUMENTS[kind], len(ARGUMENTS[kind])
    many = any(a.kind is a.VAR_POSITIONAL for a in arguments)
    needed = sum(a.default is a.empty for a in positional)
    further = [] if kind in PLANS_KEYWORDS else [a.name for a in positional[given:]]
    unseen = [a.name for a in arguments if a.kind is a.KEYWORD_ONLY] if kind in WITHOUT_PARAMETERS else []
    if needed <= given and (many or len(positional) >= given) and not further and not unseen:
        return
    shown = f"The {kind} {name} takes {inspect.signature(make)}; it is given ({', '.join(expected)})"
    if unseen:
        raise BadConfiguration("InvalidSignature", f"{shown}, and no parameters.", hint="Leave the keyword-only arguments out.")
    hint = f"Parameters that a manifest may set are keyword-only arguments: ({', '.join([*expected, '*', 'weight: float = 1.0'])})."
    raise BadConfiguration("InvalidSignature", f"{shown}.", hint="" if kind in WITHOUT_PARAMETERS else hint)
