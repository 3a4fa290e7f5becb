"""A real Prometheus on loopback, which scrapes what a test names and evaluates the chart's alerts."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..apiclient import wait_until
from ..controlplane import ROOT
from ..ports import free_port

FETCH = ROOT / "tests" / "prometheus" / "fetch.sh"


def program(name: str) -> Path:
    """`prometheus` or `promtool`.

    Raises:
        FileNotFoundError: it is not there; the message names the command that fetches it.
    """
    folder = Path(subprocess.run([str(FETCH), "--print"], check=True, capture_output=True, text=True).stdout.strip())
    if not (folder / name).exists():
        raise FileNotFoundError(f"{name} is not in {folder}. Fetch it once: {FETCH.relative_to(ROOT)}")
    return folder / name


class Prometheus:
    """One Prometheus, while the block runs.

    Args:
        folder: its own; configuration, data and log lie there.
        targets: labels of what is scraped, by host:port.
        rules: a file of rules.
    """

    def __init__(self, folder: Path, targets: Mapping[str, Mapping[str, str]], rules: Path) -> None:
        self._folder, self._url = folder, f"http://127.0.0.1:{free_port()}"
        jobs = [
            {"job_name": f"target-{i}", "static_configs": [{"targets": [address], "labels": dict(labels)}]}
            for i, (address, labels) in enumerate(targets.items())
        ]
        # A scrape that takes longer than its time limit would say that its target is away; a limit is an interval at most.
        every = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "300ms"}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prometheus.yml").write_text(json.dumps({"global": every, "scrape_configs": jobs, "rule_files": [str(rules)]}))

    def __enter__(self) -> Prometheus:
        arguments = (
            "config.file=prometheus.yml",
            "storage.tsdb.path=data",
            f"web.listen-address={self._url.removeprefix('http://')}",
        )
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(program("prometheus")), *(f"--{argument}" for argument in arguments)],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self._is_ready, what=lambda: f"Prometheus: {(self._folder / 'log').read_text()[-2000:]}")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"Prometheus ended:\n{(self._folder / 'log').read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query's series.

        Raises:
            ValueError: Prometheus does not take the expression.
        """
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with their state and their health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **parameters: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None
