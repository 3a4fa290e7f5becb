"""Pods that end with words that are no report."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.contract.json_text import codec
from nnunet_trainer.contract.report import Artifact, Error, Report

from ..apiclient import Manifest, wait_until
from ..controlplane import ControlPlane
from ..pretend import Ending, succeed
from .supervisor import Supervisor
from .trial import API_VERSION, Count, Trial, ready_of

LONG = 64_000
REPORT = json.loads(codec.dumps(Report(step="dataset", artifacts=[Artifact(kind="dataset", uri="s3://nnunet/x", digest="d" * 64)])))
WRONG: list[Any] = [None, True, -1, 10**4000, 1e308, "x", "\ud800\x00", [], [[]], {}, {"a": {"b": [None]}}]


def messages(seed: int) -> list[str]:
    """Termination messages: garbage, cut, not UTF-8, of wrong types, not of this order."""
    chance = random.Random(seed)
    error = Error(code=65, reason="Odd reason\ud800", message="m" * LONG, hint="h" * LONG)
    said = [
        "".join(chance.choices(string.printable, k=LONG)),
        "".join(chr(chance.choice([0, 7, 0x7F, 0x80, 0xD800, 0xDCFF, 0xFFFE, 0x10FFFF])) for _ in range(LONG // 4)),
        "[" * LONG,
        '{"a":' * (LONG // 5),
        "9" * LONG,
        "",
        "null",
        json.dumps(REPORT)[30:],
        json.dumps(REPORT | {"summary": {"x": "y" * LONG}}),
        json.dumps(REPORT | {"step": "train"}),
        json.dumps(REPORT | {"requires": ["of tomorrow"]}),
        '{"step":"dataset","step":' + json.dumps(REPORT)[len('{"step":') :],
        json.dumps(REPORT).replace("s3://nnunet/x", "s3://elsewhere/x"),
        json.dumps(REPORT).replace("s3://nnunet/x", "s3://nnunet/../../x"),
        json.dumps(REPORT | {"summary": {"cases": float("nan"), "sizeBytes": float("inf"), "medianSpacing": [float("-inf")]}}),
        json.dumps(json.loads(codec.dumps(Report(step="dataset", error=error)))),
    ]
    return said + [json.dumps({**REPORT, field: wrong}) for field in REPORT for wrong in chance.sample(WRONG, 3)]


def garbage(plane: ControlPlane, folder: Path, *, of_each: int, seed: int) -> Count:
    """Datasets whose first attempt ends, well or not, with such words; the next one goes well.

    Args:
        of_each: every so manieth message is tried.
    """
    count, words = Count("termination messages of garbage"), messages(seed)[::of_each]

    def script(order: Manifest, pod: Manifest) -> Ending:
        owner, attempt = (pod["metadata"]["labels"][f"nnunet.dev/{name}"] for name in ("owner-name", "attempt"))
        how, number = owner.split("-")
        if attempt != "0":
            return succeed(order, pod)
        return Ending(0 if how == "good" else int(ExitCode.BAD_DATA), words[int(number)])

    with Trial(plane, folder, seed=seed, script=script) as trial, Supervisor(trial.operator()) as supervisor:
        names = [f"{how}-{number}" for number in range(len(words)) for how in ("good", "bad")]
        spec = {"name": "Dataset001_Brain", "source": {"uri": "s3://nnunet/raw/Dataset001_Brain"}}
        for name in names:
            trial.apply("Dataset", name, **spec)
        count.tried = len(names)

        def open_() -> list[str]:
            found = {one["metadata"]["name"]: one for one in trial.list(API_VERSION, "Dataset")}
            return [f"{name}: {ready_of(found[name])}" for name in names if not over(found[name])]

        wait_until(lambda: not open_(), timeout=240, what=lambda: f"all to end: {open_()[:3]}")
        for name in (name for name in names if name.startswith("bad")):
            trial.apply("Dataset", name, **spec, rerun="again")
        trial.settle(count)
        if errors := supervisor.operator.metric("nnunet_operator_errors_total"):
            count.lost.append(f"{errors:g} errors of the operator")
        return count


def over(manifest: Manifest) -> bool:
    """Whether it is Ready, or has failed for good."""
    conditions = (manifest.get("status") or {}).get("conditions") or []
    return any(one["type"] in ("Ready", "Stalled") and one["status"] == "True" for one in conditions)
