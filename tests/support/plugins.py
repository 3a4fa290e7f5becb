"""Plug-ins for tests: folders of Python files, and registries that are as before after a test."""

from __future__ import annotations

import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nnunet_trainer.extensions import kinds, plugins


def write(root: Path, name: str, /, **files: str) -> Path:
    """A plug-in of this name below a folder that holds plug-ins; `losses="…"` is the file losses.py."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / f"{file}.py").write_text(textwrap.dedent(text))
    return folder


@contextmanager
def isolated() -> Iterator[None]:
    """What plug-ins register within is gone after it."""
    for kind in kinds.KINDS:
        if kind not in ("network", "loss", "optimizer", "augmentation"):  # those import torch
            kinds.registry(kind)
    before = {kind: dict(registry._components) for kind, registry in kinds.imported()}
    loaded = dict(plugins._LOADED)
    try:
        yield
    finally:
        for kind, registry in kinds.imported():
            own = {name: c for name, c in registry._components.items() if c.plugin is None}
            registry._components.clear()
            registry._components.update(before.get(kind, own))
        plugins._LOADED.clear()
        plugins._LOADED.update(loaded)
        for name in [name for name in sys.modules if name.startswith("nnunet_plugin_")]:
            del sys.modules[name]


BEGUN = "import threading; threading.begun.set()"
"""Of a plug-in whose time is limited: it has come to here."""


def seconds_from_begun(monkeypatch: pytest.MonkeyPatch, seconds: float) -> float:
    """A time limit that counts from `BEGUN` on, however long the machine takes until then.

    Args:
        monkeypatch: of the test.
        seconds: no other wait of the test takes as long.
    """
    begun, wait = threading.Event(), threading.Event.wait

    def waits(event: threading.Event, timeout: float | None = None) -> bool:
        until = time.monotonic() + 60
        while timeout == seconds and not (begun.is_set() or event.is_set()) and time.monotonic() < until:
            time.sleep(0.005)
        return wait(event, timeout)

    monkeypatch.setattr(threading, "begun", begun, raising=False)
    monkeypatch.setattr(threading.Event, "wait", waits)
    return seconds
