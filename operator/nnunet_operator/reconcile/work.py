"""One piece of work: what an object wants done by Jobs, one after another until one succeeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from nnunet_trainer.contract.json_text.untrusted_json import printable
from nnunet_trainer.contract.work_order import WorkOrder

from ..api.common import FailurePolicySpec, State, WorkStatus
from ..api.training_run import FoldStatus
from ..manifests.job_parameters import JobParameters
from .blocker import Blocker

ACTIVE = (State.STARTING, State.QUEUED, State.RUNNING, State.VALIDATING)
"""States in which the newest attempt has, or is about to have, a Job."""

LONGEST_MESSAGE = 8192
"""Characters of a message that the schema takes; what a scheduler or a kubelet says may be longer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Startable:
    """All that work needs is there: `job` makes an attempt's Job of the `order`, `input` is the digest of what it works on."""

    input: str
    order: WorkOrder
    job: Callable[[int], JobParameters]


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A dataset's reading, a planning, a configuration's preprocessing, a fold's training.

    `status` is a part of the owner's status and is written to; `part` stands in the Jobs' names, `title` in sentences.
    """

    owner_kind: str
    """The kind of object that wants it done."""
    step: str
    """The trainer's step that its Jobs run."""
    part: str
    title: str
    status: WorkStatus
    stored: WorkStatus
    """The status as it was when this pass began: what it says of an attempt is safe, whatever this pass decides."""
    policy: FailurePolicySpec
    artifact: str
    """The kind of artifact that its report must name."""
    labels: dict[str, str] = field(default_factory=dict)
    active_deadline: int | None = None
    owner_uid: str = ""

    def set_state(self, state: State, reason: str, message: str) -> None:
        """How it stands, and why, for people."""
        message = printable(message)
        if len(message) > LONGEST_MESSAGE:
            message = message[: LONGEST_MESSAGE - 1] + "…"
        self.status.state, self.status.reason, self.status.message = state, reason, message or None

    def wait(self, blocker: Blocker) -> None:
        """It cannot go on yet; a state that tells more than "pending" stays."""
        waiting = (State.STARTING, State.BACKING_OFF, State.SUSPENDED)
        state = self.status.state if self.status.state in waiting else State.PENDING
        self.set_state(state, blocker.reason, blocker.message)

    def fail(self, reason: str, message: str, at: datetime) -> None:
        """The end, until a new `rerun`."""
        self.set_state(State.FAILED, reason, message)
        self.status.completion_time = at
        self.status.not_before = None
        self.status.phase = None

    def succeed(self, reason: str, message: str, at: datetime) -> None:
        """The good end."""
        self.set_state(State.SUCCEEDED, reason, message)
        self.status.completion_time = at
        self.status.phase = self.status.not_before = self.status.last_heard = self.status.order = None

    def abandon(self, state: State = State.PENDING) -> None:
        """Leave the newest attempt: its Job, if there is one, is deleted, and the next one is another attempt."""
        status = self.status
        status.state, status.job, status.not_before, status.phase, status.last_heard = state, None, None, None, None
        status.reason = status.message = status.completion_time = status.order = None
        self.forget_eta()

    def forget_eta(self) -> None:
        """Nothing of it runs: what was left then is no longer true."""
        if isinstance(self.status, FoldStatus):
            self.status.eta = None

    @property
    def epoch(self) -> int | None:
        """Finished epochs, where there are epochs."""
        return self.status.epoch if isinstance(self.status, FoldStatus) else None

    @property
    def attempt(self) -> str:
        """The newest attempt, as people count: from 1."""
        return f"attempt {(self.status.attempt or 0) + 1}"
