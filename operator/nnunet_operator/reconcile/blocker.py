"""Why something cannot start yet."""

from __future__ import annotations

from dataclasses import dataclass

from nnunet_trainer.contract import catalogue

from ..api import reasons


@dataclass(frozen=True, slots=True)
class Blocker:
    """Why work cannot start yet: `reason` is a condition's, `message` says what is waited for and how it stands."""

    reason: str
    message: str

    @property
    def stalls(self) -> bool:
        """Whether only a person can mend it (it heals by itself when that is done)."""
        return self.reason in STALLING


STALLING = frozenset(
    {
        reasons.DEPENDENCY_FAILED,
        reasons.NO_STORAGE,
        reasons.LOCAL_FILE,
        reasons.INVALID_SPEC,
        reasons.UNKNOWN_CONFIGURATION,
        reasons.CONFIGURATION_NOT_PREPROCESSED,
        reasons.UNKNOWN_FOLD,
        reasons.NO_PREVIOUS_STAGE,
        reasons.PREVIOUS_STAGE_MISMATCH,
        reasons.CONTINUATION_MISMATCH,
        reasons.REFERENCE_CYCLE,
        reasons.REFERENCE_CHANGED,
        reasons.PLANS_NAME_TAKEN,
        reasons.NETWORKS_DIFFER,
        reasons.BATCH_SMALLER_THAN_WORLD,
        reasons.NETWORK_DOES_NOT_FIT,
        reasons.MISSING_PLUGIN,
        reasons.PLUGIN_CHANGED,
        *catalogue.packaged().reasons,
    }
)
"""Reasons of blockers that only a person can mend."""
