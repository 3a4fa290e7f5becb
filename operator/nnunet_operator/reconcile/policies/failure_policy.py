"""`spec.failurePolicy`: what follows from a failed attempt: the next one, and when, or the end.

Restarts count up to `maxRestarts`; disruptions do not, but ten of them without progress are too many. Progress (a new epoch of a
fold, a preprocessed case more) refills both. What a person stopped counts as neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from nnunet_trainer.contract import catalogue

from ...api import reasons
from ...api.common import State
from ...api.plans import ConfigurationStatus
from ...api.training_run import FoldStatus
from .. import times
from ..observed import pods as reading
from ..observed.attempts import Attempt
from ..observed.failures import Cause, Failure
from ..status.sentences import NEVER_CHANGES
from ..work import Work

MAX_DISRUPTIONS = 10
FIRST_DELAY, LONGEST_DELAY = 10.0, 300.0
LONGEST_BACK_OFF = timedelta(seconds=LONGEST_DELAY)
AGAIN = "Set spec.rerun to a new value to try again."
ANOTHER = (
    f"What the spec names {NEVER_CHANGES} {{}} with the right name or value. "
    "Where the plug-in is wrong: mend it, and set spec.rerun to a new value to try again."
)


def decide(work: Work, failure: Failure) -> None:
    """Write into the work's status what follows."""
    _note_progress(work, failure)
    ACTIONS[failure.cause](work, failure)


def delay(count: int) -> timedelta:
    """The back-off before the `count`-th try again: 10 s, 20 s, 40 s … at most 5 min."""
    return timedelta(seconds=min(FIRST_DELAY * 2 ** max(0, min(count, 10) - 1), LONGEST_DELAY))


def jittered_delay(work: Work) -> timedelta:
    """Between 10 s and 5 min, another for each run and attempt: those that held nodes from each other must not meet again."""
    seed = f"{work.owner_uid} {work.part} {work.status.attempt}"
    share = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) / 2**32
    return timedelta(seconds=round(FIRST_DELAY + share * (LONGEST_DELAY - FIRST_DELAY)))


def start_after_gang(work: Work, ending: Iterable[Attempt]) -> datetime | None:
    """Of a gang that was given back and whose pods take longer to end than its back-off: when the next attempt starts, else None.

    Two whose pods take the whole grace would otherwise begin again in the same second, and hold each other's nodes again.
    """
    if work.status.state is not State.BACKING_OFF or work.status.reason != reasons.PRE_RUNNING_DEADLINE_EXCEEDED:
        return None
    pods = [pod for attempt in ending for pod in attempt.pods if reading.is_indexed(pod)]
    ends = [at for pod in pods if (at := times.parse(pod["metadata"].get("deletionTimestamp")))]
    return max(ends) + jittered_delay(work) if ends else None


def _note_progress(work: Work, failure: Failure) -> None:
    """Refill the budget where the attempt got further than all before it: a fold by epochs, a preprocessing by cases."""
    status = work.status
    if isinstance(status, FoldStatus):
        if failure.epoch is not None and 0 <= failure.epoch <= (status.epochs or 10**6):
            status.epoch = max(int(failure.epoch), status.epoch or 0)  # True is an int as well
        advanced = (status.epoch or 0) > (status.started_epoch or 0)
        status.started_epoch = status.epoch if advanced else status.started_epoch
    elif isinstance(status, ConfigurationStatus):
        advanced = (status.cases_done or 0) > (status.started_cases or 0)
        status.started_cases = status.cases_done if advanced else status.started_cases
    else:
        return
    if advanced:
        status.restarts = status.disruptions_without_progress = status.out_of_memory = 0


def _restart(work: Work, failure: Failure) -> None:
    limit = work.policy.max_restarts
    if work.status.restarts >= limit:
        tried = f"after {limit + 1} attempts without progress" if limit else "(maxRestarts is 0)"
        _give_up(work, failure, f"No attempt is left {tried}.")
        return
    work.status.restarts += 1
    _try_again(work, failure, delay(work.status.restarts), f"Restart {work.status.restarts} of {limit}.")


def _disruption(work: Work, failure: Failure) -> None:
    status = work.status
    status.disruptions += 1
    status.disruptions_without_progress += 1
    if status.disruptions_without_progress >= MAX_DISRUPTIONS:
        further = "a further case" if isinstance(status, ConfigurationStatus) else "a new epoch"
        message = f"{_sentence(work, failure)} This was disruption {status.disruptions_without_progress} without {further}. {AGAIN}"
        work.fail(reasons.TOO_MANY_DISRUPTIONS, message, failure.at)
        return
    wait = delay(status.disruptions_without_progress - 1) if status.disruptions_without_progress > 1 else timedelta()
    _try_again(work, failure, wait, "Not counted as a restart.")


def _given_back(work: Work, failure: Failure) -> None:
    _try_again(work, failure, jittered_delay(work), "Not counted as a restart.")


def _requested(work: Work, failure: Failure) -> None:
    _try_again(work, failure, timedelta(), "Not counted as a restart.")


def _permanent(work: Work, failure: Failure) -> None:
    _give_up(work, failure, "")


def _out_of_memory(work: Work, failure: Failure) -> None:
    if work.status.out_of_memory >= 1:
        _give_up(work, failure, "It was tried twice.")
        return
    work.status.out_of_memory += 1
    _try_again(work, failure, delay(1), "It is tried once more.")


def _unreported(work: Work, failure: Failure) -> None:
    if work.status.reports_missed >= max(1, work.policy.max_restarts):
        _give_up(work, failure, "")
        return
    work.status.reports_missed += 1
    _try_again(work, failure, timedelta(), "What it made is found and reported, not made again.")


ACTIONS: dict[Cause, Callable[[Work, Failure], None]] = {
    Cause.DISRUPTION: _disruption,
    Cause.REQUESTED: _requested,
    Cause.GIVEN_BACK: _given_back,
    Cause.PERMANENT: _permanent,
    Cause.OUT_OF_MEMORY: _out_of_memory,
    Cause.UNREPORTED: _unreported,
    Cause.ERROR: _restart,
}


def _try_again(work: Work, failure: Failure, wait: timedelta, counted: str) -> None:
    begins: datetime = failure.at + wait
    when = f" at {times.time_of_day(begins)}" if wait else ""
    epoch = work.epoch
    since = f" from epoch {epoch} or the checkpoint before it" if epoch else ""
    following = f"Attempt {(work.status.attempt or 0) + 2} starts{when}{since}."
    hint = f"{failure.hint} " if failure.hint else ""
    work.set_state(State.BACKING_OFF, failure.reason, f"{_sentence(work, failure)} {hint}{following} {counted}")
    work.status.not_before = begins
    work.status.phase = None


def _give_up(work: Work, failure: Failure, why: str) -> None:
    detail = f"All: {failure.detail}." if failure.detail else ""
    parts = (_sentence(work, failure), detail, failure.hint, why, _again(work, failure))
    work.fail(failure.reason, " ".join(part for part in parts if part), failure.at)


def _again(work: Work, failure: Failure) -> str:
    """How to try again; a name or a parameter in the spec that is wrong would be so again."""
    if "spec.rerun" in failure.hint:
        return ""
    return ANOTHER.format(work.owner_kind) if failure.reason in catalogue.packaged().reasons else AGAIN


def _sentence(work: Work, failure: Failure) -> str:
    """`fold 2 (attempt 3) was preempted …`; a trainer's own message is a sentence already."""
    message = failure.message.strip().rstrip(".")
    if failure.reported:
        return f"{work.title} ({work.attempt}): {message}{'' if message.endswith('?') else '.'}"
    epoch = f" at epoch {work.epoch}" if work.epoch is not None else ""
    return f"{work.title} ({work.attempt}) {message}{epoch}."
