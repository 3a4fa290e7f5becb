"""What a running pod says about itself, as status."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from nnunet_trainer.contract.progress import Progress

from ...api import reasons
from ...api.common import State
from ...api.plans import ConfigurationStatus
from ...api.training_run import CheckpointStatus, FoldStatus
from .. import times
from ..scope import Scope
from ..status.events import NOTHING_HEARD
from ..view import Heard
from ..work import Work
from .attempt_states import Running
from .report_checks import LONGEST_URI, is_below
from .report_summary import LARGEST

FRESH = timedelta(minutes=1)
"""The same epoch's answers are not written more often."""

SILENCE = timedelta(minutes=2)
"""After so long without an answer that was asked for, it is said since when nothing was heard."""

LONGEST_WARNING, MOST_WARNINGS, LONGEST_SPEED = 1024, 16, 512

MOST_WARNINGS_OF_A_RUN = 320
"""Over all folds, of which there may be 100: etcd takes objects of 1.5 MB at most, and a larger status would never be written."""

DOING = {
    "dataset": reasons.VERIFYING,
    "plan": reasons.PLANNING,
    "transfer": reasons.TRANSFERRING,
    "preprocess": reasons.PREPROCESSING,
    "train": reasons.TRAINING,
    "delete_results": reasons.DELETING_RESULTS,
}
"""What a step is doing, as a condition's reason."""


def of(scope: Scope[Any], work: Work, running: Running) -> None:
    """Take over what the attempt's pods answered last; training goes on also when nobody answers."""
    heard = scope.view.heard.get(running.leader)
    if heard is not None and heard.progress.step != work.step:
        heard = None  # no answer to what was ordered
    status = work.status
    if heard is not None and _is_news(work, heard, scope.now):
        status.phase = heard.progress.phase[:64] or None
        status.last_heard = heard.at
        _details(scope, work, running, heard.progress)
    validating = status.phase == "validating"
    fingerprinting = bool(status.phase) and str(status.phase).startswith("fingerprint")
    reason = reasons.VALIDATING if validating else reasons.FINGERPRINTING if fingerprinting else DOING[work.step]
    pending = f"; pod {running.pending.pod} does not run yet" if running.pending else ""
    said = f"{_sentence(work, validating, heard)}{_warned(scope, work, running)}"
    message = f"{work.title}: {said}{pending}{_silence(scope, work, running)}"
    work.set_state(State.VALIDATING if validating else State.RUNNING, reason, message)


def _is_news(work: Work, heard: Heard, now: datetime) -> bool:
    """Whether an answer is worth a status write: something has come about, or a minute has passed."""
    status, said = work.status, heard.progress
    if status.last_heard is None or heard.at >= status.last_heard + FRESH:
        return True
    if status.last_heard > now + FRESH:
        return True  # by a clock that was ahead
    if heard.at < status.last_heard:
        return False
    same = isinstance(status, FoldStatus) and (said.phase[:64] or None, said.epoch) == (status.phase, status.epoch)
    return not same


def _details(scope: Scope[Any], work: Work, running: Running, said: Progress) -> None:
    status = work.status
    if isinstance(status, ConfigurationStatus):
        shards = [scope.view.heard[uid].progress for uid in running.pods if uid in scope.view.heard]
        done = sum(shard.done for shard in shards) if len(shards) > 1 else said.done
        if said.total:
            status.cases_done = max(done, status.cases_done or 0)
            status.cases_total = status.cases_total or said.total
    if isinstance(status, FoldStatus):
        _fold(status, said, running.storage)
        if said.continued and status.continued is None:
            status.continued = said.continued[:LONGEST_WARNING]
            scope.outcome.record(reasons.CONTINUED, f"{work.title} {status.continued}")
        _warnings(scope, work, status, said)


def _warnings(scope: Scope[Any], work: Work, status: FoldStatus, said: Progress) -> None:
    """Take over what the training warns of, the first of it; each is an event when it begins and when it is over."""
    before, all_of_them = status.warnings or [], [text[:LONGEST_WARNING] for text in said.warnings or []]
    now = all_of_them[: min(MOST_WARNINGS, max(1, MOST_WARNINGS_OF_A_RUN // len(scope.status.folds)))]
    for text in now:
        if text not in before:
            scope.outcome.record(reasons.TRAINING_WARNING, f"{work.title}: {text}", warning=True)
    for text in before:
        if text not in all_of_them:
            scope.outcome.record(reasons.WARNING_OVER, f"{work.title}: no longer: {text}")
    status.warnings = now or None


def _fold(status: FoldStatus, said: Progress, storage: str | None) -> None:
    status.epoch = status.epoch if said.epoch is None else said.epoch
    status.epochs = said.epochs or status.epochs
    dice = _dice(said)
    numbers = {"train_loss": (said.train_loss, -LARGEST, LARGEST), "val_loss": (said.val_loss, -LARGEST, LARGEST)}
    for name, (value, least, most) in (numbers | {"pseudo_dice": (dice, 0, 1)}).items():
        if value is not None and least <= value <= most:
            setattr(status, name, round(value, 5))
    status.eta = times.duration(said.eta_seconds) if said.eta_seconds is not None and said.eta_seconds < 10**8 else None
    status.speed = said.speed[:LONGEST_SPEED] if said.speed else status.speed
    if said.resumed_from_epoch is not None and said.resumed_from_epoch >= 0:
        status.resumed_from_epoch = said.resumed_from_epoch
    if (
        said.checkpoint_uri
        and len(said.checkpoint_uri) <= LONGEST_URI
        and (storage is None or is_below(said.checkpoint_uri, storage))
    ):
        epoch = said.checkpoint_epoch if (said.checkpoint_epoch or 0) >= 0 else None
        status.checkpoint = CheckpointStatus(
            uri=said.checkpoint_uri, epoch=epoch, sha256=(said.checkpoint_sha256 or "")[:64] or None
        )


def _dice(said: Progress) -> float | None:
    return said.pseudo_dice if said.ema_pseudo_dice is None else said.ema_pseudo_dice


def _sentence(work: Work, validating: bool, heard: Heard | None) -> str:
    status = work.status
    if isinstance(status, FoldStatus) and status.epoch is not None:
        of_all = f" of {status.epochs}" if status.epochs else ""
        dice = f", pseudo-Dice {status.pseudo_dice:.3f}" if status.pseudo_dice is not None else ""
        left = f", about {status.eta} left" if status.eta else ""
        what = "validating after epoch" if validating else "epoch"
        continued = f"; it {status.continued}" if status.continued else ""
        return f"{what} {status.epoch}{of_all}{dice}{left}{continued}"
    if isinstance(status, ConfigurationStatus) and status.cases_done is not None:
        return f"{status.cases_done} of {status.cases_total} cases preprocessed"
    if heard is not None and heard.progress.total:
        return f"{status.phase or 'running'}, {heard.progress.done} of {heard.progress.total}"
    return status.phase or "running"


def _warned(scope: Scope[Any], work: Work, running: Running) -> str:
    """The first warning; those of a fold stand in its status, those of other work only here."""
    if isinstance(work.status, FoldStatus):
        warnings, more = work.status.warnings or [], "more in status.folds"
    else:
        pods = [scope.view.heard[uid].progress for uid in running.pods if uid in scope.view.heard]
        found = [text for said in pods if said.step == work.step for text in said.warnings or []]
        warnings, more = [text[:LONGEST_WARNING] for text in found], "more in the pods' logs"
    if not warnings:
        return ""
    return f"; warning: {warnings[0].rstrip('.')}" + (f" (and {len(warnings) - 1} {more})" if len(warnings) > 1 else "")


def _silence(scope: Scope[Any], work: Work, running: Running) -> str:
    since = max((t for t in (work.status.last_heard, running.since) if t is not None), default=None)
    if since is None:
        return ""
    asked = max(since, scope.view.listening_since or since)
    if scope.now - asked < SILENCE:
        scope.look_again_at(asked + SILENCE)
        return ""
    return f"{NOTHING_HEARD}{times.timestamp(since)}"
