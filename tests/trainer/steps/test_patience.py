"""Results wait for a store that is away, no longer than anybody has patience or SIGTERM leaves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from nnunet_trainer.artifacts import ObjectStore, open_store
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadConfiguration, BadData, Fault, StorageFault, Temporary
from nnunet_trainer.contract.work_order import Location
from nnunet_trainer.steps import train
from nnunet_trainer.steps.attempts.patience import MENDED, Backoff, PatientStore, within_grace
from nnunet_trainer.steps.attempts.uploads import Uploads
from nnunet_trainer.training.loop.stopping import StopRequest

QUICK = Backoff(first=0.001, most=0.002, patience=60)
AWAY = StorageFault("StorageUnreachable", "no answer", hint="Is the endpoint right?")


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(Location(uri=f"file://{tmp_path}/store"))


def failing(store: ObjectStore, times: float, fault: Fault, *, after: bool = False) -> ObjectStore:
    """Its first writes fail so often, before they are done or after."""
    left = [times]

    def wrap(real: Callable[..., object]) -> Callable[..., object]:
        def write(*arguments: object) -> object:
            left[0] -= 1
            if left[0] >= 0:
                if after:
                    real(*arguments)
                raise fault
            return real(*arguments)

        return write

    for name in ("put", "put_file", "put_if_absent"):
        setattr(store, name, wrap(getattr(store, name)))
    return store


@pytest.mark.parametrize("fault", [AWAY, StorageFault("StorageFull", "full"), *(BadConfiguration(r, "mended") for r in MENDED)])
def test_an_outage_is_waited_for_and_said_once(store: ObjectStore, tmp_path: Path, fault: Fault) -> None:
    told: list[str | None] = []
    patient = PatientStore(failing(store, 30, fault), threading.Event(), QUICK, told.append)
    (tmp_path / "file").write_bytes(b"2")
    patient.put("a", b"1")
    patient.put_file(tmp_path / "file", "b")
    assert patient.put_if_absent("c", b"3")
    assert {info.key for info in patient.list()} == {"a", "b", "c"}
    assert told == [f"The results wait for the store: {fault.message} {fault.hint}".rstrip(), None]


@pytest.mark.parametrize("fault", [BadData("ObjectNotFound", "gone"), BadConfiguration("InvalidStorageUri", "wrong")])
def test_what_nobody_mends_is_raised_at_once(store: ObjectStore, fault: Fault) -> None:
    patient = PatientStore(failing(store, 1, fault), threading.Event(), QUICK, lambda text: pytest.fail("nothing is waited for"))
    with pytest.raises(type(fault)):
        patient.put("a", b"1")


def test_patience_ends(store: ObjectStore) -> None:
    patient = PatientStore(failing(store, 10**9, AWAY), threading.Event(), Backoff(first=0.01, most=0.01, patience=0.05), print)
    with pytest.raises(StorageFault):
        patient.put("a", b"1")


def test_patience_ends_with_the_grace(store: ObjectStore) -> None:
    stop = StopRequest(grace=0.05)
    stop.set()
    patient = PatientStore(failing(store, 10**9, AWAY), stop, Backoff(first=3600, most=3600), print)
    with pytest.raises(StorageFault):
        patient.put("a", b"1")


@pytest.mark.parametrize(("before", "mine"), [(None, True), (b"mine", True), (b"another's", False)])
def test_a_write_whose_answer_was_lost_may_have_been_the_first(store: ObjectStore, before: bytes | None, mine: bool) -> None:
    if before is not None:
        store.put("m", before)
    patient = PatientStore(failing(store, 1, AWAY, after=True), threading.Event(), QUICK, lambda text: None)
    assert patient.put_if_absent("m", b"mine") is mine


def test_work_within_the_grace_ends_as_it_would(store: ObjectStore) -> None:
    stop = StopRequest(grace=60)
    assert within_grace(lambda: 3, stop) == 3
    stop.set()
    assert within_grace(lambda: 4, stop) == 4
    with pytest.raises(TimeoutError, match="its own"):
        within_grace(lambda: (_ for _ in ()).throw(TimeoutError("its own")), stop)


def test_work_that_outlasts_the_grace_is_left() -> None:
    stop, hanging = StopRequest(grace=0.05), threading.Event()
    stop.set()
    with pytest.raises(TimeoutError):
        within_grace(lambda: hanging.wait(60), stop)
    hanging.set()


@pytest.mark.parametrize(("given", "seconds"), [(None, 300), ("45", 45), ("x", 300), ("-1", 300), ("nan", 300), ("1e9", 300)])
def test_the_grace_is_the_pods(monkeypatch: pytest.MonkeyPatch, given: str | None, seconds: float) -> None:
    monkeypatch.delenv(pod.ENV_GRACE_SECONDS, raising=False)
    if given is not None:
        monkeypatch.setenv(pod.ENV_GRACE_SECONDS, given)
    assert pod.grace_seconds() == seconds


@pytest.mark.parametrize("grace", ["1", "2", "5", "10", "30", "99", "100", "300", "3600"])
def test_a_training_that_is_stopped_ends_before_its_supervisor_and_the_kubelet_kill(
    monkeypatch: pytest.MonkeyPatch, grace: str
) -> None:
    monkeypatch.setenv(pod.ENV_GRACE_SECONDS, grace)
    with train._stops() as stop, monkeypatch.context() as still:
        still.setattr("nnunet_trainer.training.loop.stopping.time.monotonic", lambda: 0.0)
        stop.begun = True
        stop.sigterm(signal.SIGTERM, None)
        left = stop.seconds_left()
    assert left is not None
    assert 0.7 * pod.ranks_seconds() < left < pod.ranks_seconds() <= pod.grace_seconds()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (AWAY, "The training is done, but its results could not be uploaded: no answer"),
        (Temporary("TrainedElsewhere", "Another Job was faster."), "Another Job was faster."),
    ],
)
def test_what_kept_results_from_the_store_is_said(store: ObjectStore, tmp_path: Path, fault: Fault, message: str) -> None:
    def publish() -> NoReturn:
        raise fault

    uploads = Uploads(store, "run/attempts/0/fold_0", 1, lambda progress: None, tmp_path)
    with pytest.raises(type(fault)) as caught:
        train._published(publish, uploads, StopRequest(grace=60))
    assert caught.value.message == message


def test_the_first_request_to_stop_counts() -> None:
    stop = StopRequest(grace=3600)
    assert stop.seconds_left() is None
    stop.set()
    first = stop.seconds_left()
    stop.set()
    again = stop.seconds_left()
    assert first is not None
    assert again is not None
    assert 3000 < again <= first <= 3600
