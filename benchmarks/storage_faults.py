"""Checkpoints into a real S3 server that fails, and uploaders that are killed: how many are half, lost, or left in parts.

Each fault comes as often as its line says. Afterwards every checkpoint that the store describes is read and compared with its
digest, and the newest one that the store holds with the last one that was written.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import _measure as measure

sys.path.insert(0, str(measure.ROOT / "tests"))
from nnunet_trainer.artifacts import open_store
from nnunet_trainer.artifacts.digests import of_bytes, of_file
from nnunet_trainer.artifacts.location import child
from nnunet_trainer.artifacts.s3 import PART, S3Store
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.json_text import codec
from nnunet_trainer.contract.work_order import Location
from nnunet_trainer.steps.attempts.checkpoints import attempt_prefix, candidates, fetch_newest
from nnunet_trainer.steps.attempts.patience import Backoff
from nnunet_trainer.steps.attempts.uploads import Uploads
from support.faults import s3_proxy
from support.faults.s3_proxy import S3Proxy
from support.s3 import S3Server

RUN = "runs/ns/run/0123"
COMPRESSED = Backoff(first=0.02, most=0.25)
"""Of the trainer's pauses, 5 s to a minute, one 250th: an outage of 15 s is one of an hour."""

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=20261128, help="of all that is left to chance; default: %(default)s")
parser.add_argument("--only", nargs="*", default=[], metavar="FAULT", help="names of faults; default: all")
parser.add_argument("--upload", nargs=2, metavar=("LOCATION", "ATTEMPT"), help=argparse.SUPPRESS)


@dataclass(slots=True)
class Count:
    """What a fault came to."""

    faults: int
    written: int
    half: int
    lost: int
    parts: int


class Trial:
    """One fault's place in the bucket, the proxy before it, and a training that does nothing but write checkpoints."""

    def __init__(self, server: S3Server, location: Location, folder: Path, rng: random.Random) -> None:
        self.server, self.folder, self.rng, self.location = server, folder, rng, location
        self.written = 0
        folder.mkdir(parents=True)

    def content(self, epoch: int, size: int) -> bytes:
        return (f"epoch {epoch} ".encode() + self.rng.randbytes(1000)) * (size // 1000)

    def uploads(self, location: Location, attempt: int = 0) -> Uploads:
        work = self.folder / "uploads"
        work.mkdir(exist_ok=True)
        return Uploads(S3Store(location), attempt_prefix(RUN, attempt, "0"), 2, lambda p: None, work, COMPRESSED)

    def save(self, uploads: Uploads, size: int = 200_000, *, best: bool = False) -> None:
        self.written += 1
        content = self.content(self.written, size)
        beside = self.folder / "beside"
        beside.write_bytes(content)
        beside.rename(self.folder / "checkpoint_latest.pth")
        uploads.written(self.folder / "checkpoint_latest.pth", self.written, of_bytes(content))
        if best:
            (self.folder / "checkpoint_best.pth").unlink(missing_ok=True)
            (self.folder / "checkpoint_best.pth").hardlink_to(self.folder / "checkpoint_latest.pth")
            uploads.written(self.folder / "checkpoint_best.pth", self.written, of_bytes(content))

    def count(self, faults: int) -> Count:
        """Read everything that is described."""
        store = S3Store(replace(self.location, endpoint=self.server.endpoint))
        store.discard_unfinished(f"{RUN}/attempts/")  # as the end of a run does
        going_on, best = candidates(store, RUN, "0")
        half = 0
        for each in going_on + best:
            target = self.folder / "read"
            store.get_file(f"{each.key.rpartition('/')[0]}/{each.stored.file_name}", target)
            half += (target.stat().st_size, of_file(target)) != (each.stored.size, each.stored.sha256)
        newest = fetch_newest(store, going_on, self.folder / "resume")
        lost = self.written - (newest[1].epoch if newest else 0)
        page = store._client.list_multipart_uploads(Bucket=store.bucket, Prefix=store.prefix)
        return Count(faults, self.written, half, lost, len(page.get("Uploads", [])))


def drain(uploads: Uploads, seconds: float = 120) -> None:
    """Until all is up that waits."""
    with uploads._condition:
        if not uploads._condition.wait_for(lambda: not uploads._waiting and not uploads._busy, seconds):
            raise SystemExit(f"nothing goes up any more: {uploads.problem}")


def every_fifth(trial: Trial, fault: str | None = None) -> Count:
    """Every fifth request meets a fault, of all kinds or of one."""
    faults = s3_proxy.PASSING if fault is None else (fault,)
    with S3Proxy(trial.server.port, s3_proxy.every(5, faults), slow=0.5) as proxy:
        uploads = trial.uploads(replace(trial.location, endpoint=proxy.endpoint))
        for i in range(60):
            trial.save(uploads, 3 * PART if i % 10 == 9 else 200_000, best=i % 4 == 0)
            drain(uploads)
        uploads.close(60)
        proxy.choose = s3_proxy.never
        return trial.count(sum(proxy.done.values()))


def away(trial: Trial, fault: str, checkpoints: int = 60, seconds: float = 15) -> Count:
    """The store is away, or refuses to take anything, while checkpoints go on coming."""
    with S3Proxy(trial.server.port) as proxy:
        uploads = trial.uploads(replace(trial.location, endpoint=proxy.endpoint))
        trial.save(uploads)
        drain(uploads)
        proxy.choose = s3_proxy.always(fault)
        over = threading.Event()
        for _ in range(checkpoints):
            trial.save(uploads)
            over.wait(seconds / checkpoints)
        if uploads.problem is None:
            raise SystemExit("nothing was said of an outage")
        proxy.choose = s3_proxy.never
        drain(uploads)
        if uploads.problem is not None:
            raise SystemExit(f"the outage is over, and still said: {uploads.problem}")
        uploads.close(60)
        return trial.count(sum(proxy.done.values()))


def server_killed(trial: Trial, times: int = 5) -> Count:
    """The server gets SIGKILL in the middle of an upload of several parts, and is started again."""
    with S3Proxy(trial.server.port) as proxy:
        uploads = trial.uploads(replace(trial.location, endpoint=proxy.endpoint))
        for _ in range(times):
            met = threading.Event()

            def choose(number: int, method: str, path: str, met: threading.Event = met) -> str | None:
                if "partNumber=2" in path:
                    met.set()
                return None

            proxy.choose = choose
            trial.save(uploads, 6 * PART)
            if not met.wait(60):
                raise SystemExit("no second part was uploaded")
            trial.server.stop()
            proxy.upstream = trial.server.start().port
            drain(uploads)
        uploads.close(60)
        return trial.count(times)


def uploader_killed(trial: Trial, times: int = 10) -> Count:
    """The process that uploads gets SIGKILL at a random instant; another one goes on after it."""
    (trial.folder / "location.json").write_text(codec.dumps(replace(trial.location, endpoint=trial.server.endpoint)))
    newest = 0
    for attempt in range(times):
        command = [sys.executable, __file__, "--upload", str(trial.folder / "location.json"), str(attempt)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(2):  # when it writes the second one, the first one is up
            process.stdout.readline()
        threading.Event().wait(trial.rng.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        store = S3Store(replace(trial.location, endpoint=trial.server.endpoint))
        found = candidates(store, RUN, "0")[0]
        there = found[0].stored.epoch if found else 0
        if there < newest:
            raise SystemExit(f"epoch {newest} was in the store, and is not any more")
        newest = there
    trial.written = newest
    return trial.count(times)


def upload(location: Location, attempt: int) -> None:
    """Write and upload checkpoints until somebody kills this process."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(location)
        trial = Trial(S3Server(Path(folder)), location, Path(folder) / "trial", random.Random(attempt))
        found = candidates(store, RUN, "0")[0]
        trial.written = found[0].stored.epoch if found else 0
        uploads = trial.uploads(location, attempt)
        while True:
            trial.save(uploads, 2 * PART, best=trial.written % 2 == 0)
            print(trial.written, flush=True)
            drain(uploads)


FAULTS: dict[str, Callable[[Trial], Count]] = {
    "every fifth request": every_fifth,
    "every fifth dropped": lambda trial: every_fifth(trial, s3_proxy.DROPPED),
    "every fifth answer lost": lambda trial: every_fifth(trial, s3_proxy.LOST),
    "every fifth cut": lambda trial: every_fifth(trial, s3_proxy.CUT),
    "every fifth slow": lambda trial: every_fifth(trial, s3_proxy.SLOW),
    "away for an hour": lambda trial: away(trial, s3_proxy.DROPPED),
    "full (507)": lambda trial: away(trial, "507", 20, 5),
    "full (quota)": lambda trial: away(trial, "quota", 20, 5),
    "full (no space)": lambda trial: away(trial, "no space", 20, 5),
    "bucket gone": lambda trial: away(trial, "no bucket", 20, 5),
    "keys refused": lambda trial: away(trial, "denied", 20, 5),
    "server killed": server_killed,
    "uploader killed": uploader_killed,
}


def main() -> int:
    """Try them one after the other on one server."""
    chosen = parser.parse_args()
    if chosen.upload:
        upload(codec.loads(Location, Path(chosen.upload[0]).read_bytes()), int(chosen.upload[1]))
    logging.disable()
    counts: dict[str, Count] = {}
    with tempfile.TemporaryDirectory() as place:
        os.environ[pod.ENV_SECRETS] = f"{place}/secrets"
        server = S3Server(Path(place) / "s3").start()
        try:
            bucket = server.mount(Path(place) / "secrets")
            for number, name in enumerate(chosen.only or FAULTS):
                began = time.monotonic()
                trial = Trial(
                    server, child(bucket, f"trial-{number}"), Path(place) / str(number), random.Random(chosen.seed + number)
                )
                counts[name] = count = FAULTS[name](trial)
                print(
                    f"{name:24} {count.faults:>5} times, {count.written:>3} checkpoints: {count.half} half, {count.lost} lost, "
                    f"{count.parts} in parts ({time.monotonic() - began:.0f} s)",
                    flush=True,
                )
        finally:
            server.stop()
    figures = {what: sum(getattr(count, what) for count in counts.values()) for what in ("half", "lost", "parts")}
    return measure.report(
        "storage_faults", {**figures, "faults": sum(c.faults for c in counts.values())}, dict.fromkeys(figures, 0)
    )


if __name__ == "__main__":
    raise SystemExit(main())
