"""A training whose store is away, full, slow or closed: it goes on, says so, and ends right or says plainly why it cannot."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.retries.standard import ExponentialBackoff
from nnunet_trainer.artifacts import artifact
from nnunet_trainer.artifacts.s3 import S3Store
from nnunet_trainer.contract import pod, report, work_order
from nnunet_trainer.contract.faults import ExitCode, Fault, Stopped
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import Location, TrainerChoice, TrainOrder
from nnunet_trainer.steps import train
from nnunet_trainer.steps.attempts.patience import Backoff
from support.faults import s3_proxy
from support.faults.s3_proxy import S3Proxy
from support.s3 import S3Server

from .conftest import RECIPE, Prepared

pytestmark = pytest.mark.s3
QUICK = Backoff(first=0.01, most=0.05, patience=120)
EPOCHS = 4
PATIENT_SUPERVISOR = """
import sys
from nnunet_trainer import cli
from nnunet_trainer.contract import pod
pod.ranks_seconds = lambda: 170  # a busy machine may not begin with anything in what is left after the uploads of the worker
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(s3_server.port, slow=0.02) as proxy:
        yield proxy


@pytest.fixture
def order(prepared: Prepared, s3: Location, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch) -> TrainOrder:
    """A small training whose results go through the proxy; an outage is met once, and asked about often."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0.0)
    monkeypatch.setattr(train, "BACKOFF", QUICK)
    trainer = TrainerChoice(name="tiny", base="nnUNetTrainer", recipe={**RECIPE, "epochs": EPOCHS})
    given = prepared.chain.train_order(prepared.data, prepared.plans, trainer=trainer)
    return replace(given, storage=replace(s3, endpoint=proxy.endpoint))


class Ear:
    """Hears the training's progress, and acts once at what it waits for."""

    def __init__(self, *acts: tuple[Callable[[Progress], bool], Callable[[], Any]]) -> None:
        self.heard: list[Progress] = []
        self.acts = [*acts]

    def __call__(self, progress: Progress) -> None:
        self.heard.append(progress)
        if self.acts and self.acts[0][0](progress):
            self.acts.pop(0)[1]()

    @property
    def warnings(self) -> list[str]:
        return sorted({text for progress in self.heard for text in progress.warnings or []})


def epoch(number: int) -> Callable[[Progress], bool]:
    return lambda progress: (progress.epoch or 0) >= number


def warned(words: str) -> Callable[[Progress], bool]:
    return lambda progress: any(words in text for text in progress.warnings or [])


def end_of_threads() -> None:
    """Wait for what a training that was given up left to threads: in life the process ends with them."""
    for thread in threading.enumerate():
        if thread.name in ("uploads", "keeper", "keeping", "within-grace"):
            thread.join(60)
            assert not thread.is_alive(), thread.name


def check_whole(report: Report, location: Location) -> None:
    """All results are there as their manifest says, nothing is left of attempts, nothing is half."""
    store = S3Store(location)
    [made] = report.artifacts
    run = made.uri.removeprefix(f"{location.uri}/")
    folder = report.summary["folderUri"].removeprefix(f"{location.uri}/")
    found = artifact.require(store, "run", prefix=folder)
    for path in found.files:
        found.read(path)
    assert "checkpoint_final.pth" in found.files
    assert not [info.key for info in store.list(f"{run}/attempts/")]
    assert not store._client.list_multipart_uploads(Bucket=store.bucket, Prefix=store.prefix).get("Uploads")


def test_every_fifth_request_fails(order: TrainOrder, proxy: S3Proxy, s3: Location) -> None:
    proxy.choose = s3_proxy.every(5)
    report = train.carry_out(order, lambda progress: None)
    assert report.summary["epochs"] == EPOCHS
    assert sum(proxy.done.values()) >= 5
    check_whole(report, s3)


@pytest.mark.parametrize("fault", [s3_proxy.DROPPED, "quota", "denied"])
def test_an_outage_that_outlasts_the_training_is_waited_for(
    order: TrainOrder, proxy: S3Proxy, s3: Location, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("nnunet_trainer.artifacts.s3.ATTEMPTS", 1)

    def both_are_said(progress: Progress) -> bool:
        said = "".join(ear.warnings)
        return "The results wait for the store" in said and "Checkpoints from epoch" in said

    ear = Ear(
        (epoch(1), lambda: setattr(proxy, "choose", s3_proxy.always(fault))),
        (both_are_said, lambda: setattr(proxy, "choose", s3_proxy.never)),
    )
    report = train.carry_out(order, ear)
    assert not ear.acts
    assert (report.summary["epochs"], report.summary["resumedFromEpoch"]) == (EPOCHS, None)
    assert any(re.match(r"Checkpoints from epoch \d on are not in the store: ", text) for text in ear.warnings)
    check_whole(report, s3)


@pytest.mark.parametrize(
    ("fault", "reason", "code"),
    [("507", "StorageFull", ExitCode.IO_ERROR), ("no bucket", "BucketNotFound", ExitCode.BAD_CONFIGURATION)],
)
def test_an_outage_without_end_is_an_error_that_says_what_is_lost_and_the_next_attempt_goes_on(
    order: TrainOrder,
    proxy: S3Proxy,
    s3: Location,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fault: str,
    reason: str,
    code: int,
) -> None:
    monkeypatch.setattr("nnunet_trainer.artifacts.s3.ATTEMPTS", 1)
    monkeypatch.setattr(train, "BACKOFF", replace(QUICK, patience=0.2))
    monkeypatch.setattr(train, "FAILED_SECONDS", 0.2)
    ear = Ear((lambda progress: (progress.checkpoint_epoch or 0) >= 1, lambda: setattr(proxy, "choose", s3_proxy.always(fault))))
    longer = replace(order, trainer=replace(order.trainer, recipe={**RECIPE, "epochs": 8}))
    with pytest.raises(Fault) as caught:
        train.carry_out(longer, ear)
    assert (caught.value.reason, caught.value.exit_code) == (reason, code)
    assert "The training is done, but its results could not be uploaded" in caught.value.message
    lasting = max(progress.checkpoint_epoch or 0 for progress in ear.heard)
    assert f"The next attempt goes on from epoch {lasting}." in caught.value.message
    assert "are not in the store" in caught.value.message
    end_of_threads()
    proxy.choose = s3_proxy.never
    monkeypatch.setenv(pod.ENV_SCRATCH, str(tmp_path / "another-pod"))
    again = train.carry_out(replace(longer, attempt=1), lambda progress: None)
    assert again.summary["resumedFromEpoch"] == lasting
    check_whole(again, s3)


def test_sigterm_while_results_wait_for_the_store_ends_within_the_grace(
    order: TrainOrder, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnunet_trainer.artifacts.s3.ATTEMPTS", 1)
    monkeypatch.setenv(pod.ENV_GRACE_SECONDS, "1")
    ear = Ear(
        (epoch(2), lambda: setattr(proxy, "choose", s3_proxy.always(s3_proxy.DROPPED))),
        (warned("The results wait for the store"), lambda: os.kill(os.getpid(), signal.SIGTERM)),
    )
    with pytest.raises(Stopped, match="The upload of the results was stopped before its end"):
        train.carry_out(order, ear)
    assert not ear.acts
    end_of_threads()


@pytest.mark.e2e
def test_a_pod_that_is_stopped_while_its_store_is_away_ends_before_it_is_killed(
    order: TrainOrder, proxy: S3Proxy, tmp_path: Path
) -> None:
    """boto's own attempts, and threads that wait for answers, would take longer than the grace."""
    order = replace(order, trainer=replace(order.trainer, recipe={**RECIPE, "epochs": 100_000}))
    (tmp_path / "order.json").write_text(work_order.encode(order))
    own = {
        pod.ENV_SCRATCH: str(tmp_path / "pod"),
        pod.ENV_TERMINATION_LOG: str(tmp_path / "termination-log"),
        pod.ENV_GRACE_SECONDS: "3",
        "NNUNET_PROGRESS_PORT": "0",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", PATIENT_SUPERVISOR, "run", str(tmp_path / "order.json")]
    process = subprocess.Popen(command, env={**os.environ, **own}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        with proxy.seen:
            # When the second is described, the first was told.
            assert proxy.seen.wait_for(lambda: sum("/checkpoint_0" in p and ".json" in p for p in proxy.stored) >= 2, 120)
        proxy.slow = 600
        proxy.choose = s3_proxy.always(s3_proxy.SLOW)
        proxy.wait_for(s3_proxy.SLOW, 1)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=180)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == ExitCode.STOPPED, err
    found = report.decode((tmp_path / "termination-log").read_text())
    assert found is not None
    assert found.error is not None
    # Its own words: the supervisor had not to kill. That the seconds of both are in order has a test of its own (`test_patience`).
    assert "a checkpoint is saved" in found.error.message
    assert "not in the store" in found.error.message
    assert (found.summary["checkpointEpoch"] or 0) >= 1
