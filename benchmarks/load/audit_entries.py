"""What is read from the audit log's entries of writes."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from .client import Manifest

MERGE = "application/merge-patch+json"


def named(entry: Manifest) -> str:
    """A write as people name it: `create jobs`, `patch trainingruns/status`."""
    at = entry["objectRef"]
    code = entry.get("responseStatus", {}).get("code", 0)
    failed = f" ({code})" if code >= 400 else ""
    return f"{entry['verb']} {at['resource']}{'/' + at['subresource'] if at.get('subresource') else ''}{failed}"


def latencies(writes: list[Manifest]) -> dict[str, float]:
    """Seconds from when a TrainingRun was stored to when its Job was, by the run's name."""
    runs: dict[str, float] = {}
    jobs: dict[str, float] = {}
    for entry in writes:
        if entry["verb"] != "create" or entry["responseStatus"]["code"] != 201:
            continue
        at = datetime.fromisoformat(entry["stageTimestamp"]).timestamp()
        if entry["objectRef"]["resource"] == "trainingruns":
            runs[entry["objectRef"]["name"]] = at
        elif entry["objectRef"]["resource"] == "jobs":
            jobs[entry["requestObject"]["metadata"]["labels"]["nnunet.dev/owner-name"]] = at
    return {name: jobs[name] - at for name, at in runs.items() if name in jobs}


def recipe(sample: str, writes: list[Manifest]) -> dict[str, Any]:
    """One run's writes by moment, as the bare client replays them."""
    moments: list[list[tuple[str, str, str, str]]] = [[], [], []]
    moment, job_uid = 0, ""
    for entry in writes:
        body = entry.get("requestObject") or {}
        if entry["objectRef"].get("subresource") == "status":
            text = json.dumps(body)
            moment = 2 if '"Succeeded"' in text else max(moment, 1) if '"Running"' in text else moment
            body.get("metadata", {}).pop("resourceVersion", None)
        method = {"create": "POST", "patch": "PATCH", "update": "PUT", "delete": "DELETE"}[entry["verb"]]
        content = "application/json"
        if method == "PATCH":
            applied = "fieldManager=" in entry["requestURI"]
            content = "application/apply-patch+yaml" if applied else MERGE
        if method == "DELETE" and entry["objectRef"]["resource"] == "jobs":
            job_uid = body["preconditions"]["uid"]
        moments[moment].append((method, entry["requestURI"], json.dumps(body), content))
    return {"writes": moments, "job_uid": job_uid}
