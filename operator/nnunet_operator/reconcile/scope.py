"""One pass over one object: what is looked at, and what is being decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from ..api.common import CommonStatus
from ..manifests.job import children
from ..manifests.step import Step
from .observed.attempts import Attempt
from .outcome import Delete, Outcome
from .status import events
from .view import Manifest, View

S = TypeVar("S", bound=CommonStatus)


@dataclass(slots=True)
class Scope(Generic[S]):
    """The View, the status as it shall be (a copy, written to as the pass goes on), and the Outcome."""

    view: View[Any]
    status: S
    out: Outcome = field(default_factory=Outcome)
    told: bool = False
    """Why it is not Ready was an event of its own: that Ready now says so too is no news."""

    @classmethod
    def begin(cls, view: View[Any], status: S) -> Scope[S]:
        """A pass that starts from the stored status."""
        # A copy, five times as fast as a deep one.
        return cls(view, type(status).model_validate(status.model_dump()))

    @property
    def now(self) -> datetime:
        """The only clock there is."""
        return self.view.now

    def look_again_at(self, moment: datetime) -> None:
        """Be called again then, at the latest."""
        self.out.look_again_in(max(moment - self.now, timedelta(seconds=1)))

    def create(self, step: Step) -> None:
        """Have a Job, after its work order and its Service."""
        first, job = children(step)
        self.out.apply += first
        self.out.create.append(job)

    def delete(self, attempt: Attempt) -> None:
        """Have no Job, no Service and no work order of an attempt any more; its pods get their grace period."""
        job = attempt.job
        if job is None or job["metadata"].get("deletionTimestamp"):
            return
        self.out.delete.append(Delete("Job", attempt.name, job["metadata"].get("uid", "")))
        self.out.delete += _companions(job)

    def delete_order(self, order: str, job: str) -> None:
        """Have no work order, and no Service, of a Job that somebody else has deleted."""
        self.out.delete += [Delete("ConfigMap", order, ""), Delete("Service", job, "")]

    def end(self) -> Outcome:
        """The Outcome of this pass."""
        self.status.observed_generation = self.view.object.metadata.generation
        self.out.status = self.status.to_json()
        said = {event.reason for event in self.out.events}
        if self.told:
            return self.out
        self.out.events += [e for e in events.between(self.view.object.status, self.status) if e.reason not in said]
        return self.out


def order_of(job: Manifest) -> str | None:
    """The ConfigMap that a Job reads its order from."""
    volumes = job.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", [])
    return next((v["configMap"]["name"] for v in volumes if v.get("name") == "order" and "configMap" in v), None)


def _companions(job: Manifest) -> list[Delete]:
    # Their names hold the owner's uid and a digest or the attempt: no other object can bear them.
    order, pod = order_of(job), job.get("spec", {}).get("template", {}).get("spec", {})
    found = [Delete("ConfigMap", order, "")] if order else []
    return found + ([Delete("Service", pod["subdomain"], "")] if pod.get("subdomain") else [])
