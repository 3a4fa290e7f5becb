"""What the API server says of all Jobs and pods that ever were in a namespace: the witness of what was done twice."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator

from nnunet_operator.manifests import names

from ..apiclient import ApiClient, ApiError, Manifest

WORK = (names.OWNER_UID, names.STEP, names.CONFIGURATION, names.FOLD)
"""The labels that tell pieces of work apart; a preprocessing's shards are pods of one Job."""


class JobRecords:
    """Follows the Jobs and pods of a namespace from its start to the end of the context, through all outages.

    Attributes:
        attempts: uids of the Jobs of each name that ever were; a Job's name is made of owner, part and attempt.
        side_by_side: pairs of pods of different Jobs of one piece of work that ran at the same time.
        events: how many changes were seen: the pace of what goes on, whatever the machine's.
    """

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self.attempts: dict[str, set[str]] = defaultdict(set)
        self.side_by_side: set[tuple[str, str]] = set()
        self.events = 0
        self._running: dict[str, dict[str, str]] = defaultdict(dict)  # work → running pod → its Job
        self._stop = threading.Event()
        paths = (f"/apis/batch/v1/namespaces/{namespace}/jobs", f"/api/v1/namespaces/{namespace}/pods")
        self._threads = [threading.Thread(target=self._follow, args=(path,), daemon=True) for path in paths]
        self.problem: BaseException | None = None

    @property
    def doubled(self) -> list[str]:
        """Attempts that had more than one Job, and pods of one piece of work that ran side by side."""
        twice = [f"{len(uids)} Jobs named {name}" for name, uids in self.attempts.items() if len(uids) > 1]
        return twice + [f"pods {one} and {other} side by side" for one, other in sorted(self.side_by_side)]

    def __enter__(self) -> JobRecords:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(0.1)  # it ends by itself, at the latest when its watch does
        if self.problem is not None:
            raise self.problem

    def _follow(self, path: str) -> None:
        version = ""
        while not self._stop.is_set():
            try:
                version = version or self._list(path)
                for event in self._watch(path, version):
                    if event["type"] == "ERROR":
                        # A restarted API server does not remember the last writes before it was killed. What they made is listed.
                        version = ""
                        break
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._see(path, event["type"], event["object"])
            except (OSError, http.client.HTTPException, ValueError):
                self._stop.wait(0.2)  # the API server is away; the watch goes on where it ended
            except ApiError as error:
                if error.code < 500 and error.code != 429:
                    self.problem = error
                    return
                self._stop.wait(0.2)
            except Exception as error:
                self.problem = error
                return

    def _list(self, path: str) -> str:
        found = self._api.request("GET", path)
        if path.endswith("/pods"):
            self._running.clear()
        for item in found["items"]:
            self._see(path, "MODIFIED", item)
        return str(found["metadata"]["resourceVersion"])

    def _see(self, path: str, kind: str, manifest: Manifest) -> None:
        self.events += 1
        (self._pod if path.endswith("/pods") else self._job)(kind, manifest)

    def _watch(self, path: str, version: str) -> Iterator[Manifest]:
        url = f"{self._api.url}{path}?watch=1&resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=10"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self._api.token}"})
        context = ssl.create_default_context(cafile=self._api.ca)
        with urllib.request.urlopen(request, context=context, timeout=15) as answer:
            for line in answer:  # it ends with a bookmark, so that a quiet watch does not fall behind what the server keeps
                if self._stop.is_set():
                    return
                yield json.loads(line)

    def _job(self, _: str, job: Manifest) -> None:
        self.attempts[job["metadata"]["name"]].add(job["metadata"]["uid"])

    def _pod(self, kind: str, pod: Manifest) -> None:
        meta, labels = pod["metadata"], pod["metadata"].get("labels") or {}
        work = " ".join(str(labels.get(name)) for name in WORK)
        job, running = labels.get(names.JOB_NAME, ""), self._running[work]
        if kind == "DELETED" or (pod.get("status") or {}).get("phase") != "Running":
            running.pop(meta["name"], None)
            return
        running[meta["name"]] = job
        self.side_by_side |= {(meta["name"], other) for other, its_job in running.items() if its_job != job}
