"""A plug-in's function that does not end is named, with the line where it is; an import that does not end is ended."""

from __future__ import annotations

import functools
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.extensions import load_plugins, plugins, slow_calls
from nnunet_trainer.extensions.time_limit import THREAD
from nnunet_trainer.fingerprint.extraction import extract
from nnunet_trainer.planning.planners.experiment import plan
from nnunet_trainer.preprocessing.dataset import preprocess_dataset
from nnunet_trainer.supervision.current_progress import CurrentProgress
from support.datasets import make_dataset
from support.plugins import BEGUN, isolated, seconds_from_begun, write

C = "3d_fullres"
LOOPS = """
    import time
    from pathlib import Path

    GO = Path({go!r})

    def loop():
        while not GO.exists():
            time.sleep(0.001)
"""
PLUGIN = """
    from nnunet_trainer.dataset.readers.nifti import NibabelIO
    from nnunet_trainer.extensions import call_built_in, register
    from nnunet_trainer.fingerprint.extractors import DatasetFingerprintExtractor
    from .loops import loop

    @register("extractor", "SlowCase")
    class SlowCase(DatasetFingerprintExtractor):
        def case(self, name, images, seg, spacing):
            loop()

    @register("extractor", "SlowDataset")
    class SlowDataset(DatasetFingerprintExtractor):
        def dataset(self, fingerprint, cases):
            loop()
            return fingerprint

    @register("preprocessingStep", "SlowStep")
    def step(images, case):
        loop()

    @register("normalization", "SlowNormalization")
    def normalization(image, seg, use_mask, properties):
        loop()

    @register("resampling", "slow_resampling")
    def resampling(data, new_shape, current_spacing, new_spacing):
        loop()
        return call_built_in("resampling", "resample_data_or_seg_to_shape", data, new_shape, current_spacing, new_spacing)

    @register("reader", "SlowReader")
    class SlowReader(NibabelIO):
        name = "SlowReader"

        def load(self, path, *, label=False):
            loop()
            return super().load(path, label=label)

        def write_seg(self, segmentation, path, properties):
            loop()
            super().write_seg(segmentation, path, properties)
"""


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with isolated():
        yield


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> RawDataset:
    return RawDataset.open(make_dataset(tmp_path_factory.mktemp("raw") / "Dataset001_A", cases=2, shape=(6, 14, 12)))


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """A plug-in whose functions end when this file is there."""
    found = tmp_path / "go"
    write(tmp_path / "plugins", "mine", loops=LOOPS.format(go=str(found)), slow=PLUGIN)
    load_plugins(tmp_path / "plugins", ["mine"])
    return found


def preprocess(raw: RawDataset, out: Path, steps: list[Any], **fields: Any) -> None:
    plans = plan(extract(raw), raw.dataset_json, parameters={"preprocessingSteps": steps}, dataset_name=raw.name, reader=raw.reader)
    plans["configurations"][C] |= fields
    preprocess_dataset(raw, plans, C, out, cases=list(raw.cases)[:1])


def slow_write(image: Path, out: Path) -> None:
    usual = by_name("NibabelIO")
    properties = usual.read_images([image])[1]
    by_name("SlowReader").write(usual.read_label(image)[0].astype(np.uint8), out / "a.nii.gz", properties)


USUAL = ["Crop", "Normalize", "Resample"]
SLOW: dict[str, tuple[Callable[[RawDataset, Path], Any], str]] = {
    "extractor of a case": (
        lambda raw, out: extract(raw, extractor="SlowCase"),
        "The fingerprint extractor at .*, with case case_00,",
    ),
    "extractor of a dataset": (lambda raw, out: extract(raw, extractor="SlowDataset"), "The fingerprint extractor at "),
    "step": (lambda raw, out: preprocess(raw, out, [*USUAL, "SlowStep"]), "Case case_00: The preprocessing step SlowStep "),
    "normalization": (
        lambda raw, out: preprocess(raw, out, USUAL, normalization_schemes=["SlowNormalization"]),
        "Case case_00: The normalization scheme SlowNormalization .*, with channel 0,",
    ),
    "resampling": (
        lambda raw, out: preprocess(raw, out, USUAL, resampling_fn_data="slow_resampling", resampling_fn_data_kwargs={}),
        "Case case_00: The resampling function slow_resampling ",
    ),
    "reader": (
        lambda raw, out: by_name("SlowReader").read(raw.case("case_00").images[0]),
        "Reading .*case_00_0000.nii.gz by SlowReader",
    ),
    "writer": (lambda raw, out: slow_write(raw.case("case_00").images[0], out), "Writing .*a.nii.gz by SlowReader"),
}
"""What does not end, and how it is named."""


@pytest.mark.parametrize("what", SLOW)
def test_a_call_that_does_not_end_is_named_while_it_lasts(
    raw: RawDataset, go: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    call, named = SLOW[what]
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv(pod.ENV_SHARED, str(shared))
    monkeypatch.setattr(slow_calls, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e3)
    state, told = CurrentProgress("preprocess", shared=shared), list[str]()

    def release() -> None:
        deadline = time.monotonic() + 60
        while not told and time.monotonic() < deadline:
            told.extend(text for text in state.progress.warnings or [] if "loops.py" in text)  # before that it is just slow
            time.sleep(0.005)
        go.touch()

    other = threading.Thread(target=release)
    other.start()
    with caplog.at_level(logging.WARNING):
        call(raw, tmp_path / "out")
    other.join()
    assert len(told) == 1
    at = r"line (8: while not GO\.exists\(\):|9: time\.sleep\(0\.001\))"
    pattern = rf"{named}.* has not ended for [\d.]+ seconds; it is at .*mine/loops\.py, {at}\."
    assert re.fullmatch(pattern, told[0]), told[0]
    said = [record.getMessage() for record in caplog.records if record.name == slow_calls.__name__]
    log = "\n".join(text for text in said if "loops.py" in text)
    assert "slow.py" in log, "the plug-in's frames are in the log"
    assert "extraction.py" not in log, "ours are not"
    assert not state.progress.warnings, "it has ended"
    assert not list(shared.iterdir())


def test_a_quick_call_leaves_no_thread_and_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pod.ENV_SHARED, str(tmp_path))
    before = threading.enumerate()
    for outcome in (lambda: 1, lambda: 1 / 0):
        try:
            with slow_calls.watched("It", outcome):
                outcome()
        except ZeroDivisionError:
            pass
        assert threading.enumerate() == before
    assert not list(tmp_path.iterdir())


def test_calls_in_worker_processes_are_told_by_the_pod_too(raw: RawDataset, go: Path, tmp_path: Path) -> None:
    """Two cases side by side, each in a process of its own."""
    shared = tmp_path / "shared"
    shared.mkdir()
    script = (
        "import sys\nfrom nnunet_trainer import cli\nfrom nnunet_trainer.extensions import slow_calls\n"
        "slow_calls.FIRST_SECONDS = 0.05\nsys.exit(cli.main(sys.argv[1:]))"
    )
    arguments = ["fingerprint", str(raw.folder), "--plugins", str(tmp_path / "plugins" / "mine"), "--extractor", "SlowCase"]
    environment = {"PATH": "/usr/bin:/bin", pod.ENV_SHARED: str(shared), "HOME": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments, "--workers", "2", "-o", str(tmp_path / "f.json")],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    state, deadline = CurrentProgress("dataset", shared=shared), time.monotonic() + 180

    def in_the_loop() -> list[str]:
        return [text for text in state.progress.warnings or [] if "loops.py" in text]

    while len(told := in_the_loop()) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    go.touch()
    err = process.communicate(timeout=180)[1]
    assert process.returncode == 0, err
    assert sorted(text.partition("with case ")[2][:7] for text in told) == ["case_00", "case_01"]
    assert err.count("loops.py") >= 2
    assert not state.progress.warnings


def test_a_process_that_was_killed_is_not_told_of(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, os.getpid()):
        (tmp_path / f"{pod.SLOW_CALL}{pid}-1").write_text(f"of {pid}.")
    assert CurrentProgress("dataset", shared=tmp_path).progress.warnings == [f"of {os.getpid()}."]


def of_mine(number: int) -> int:
    return number


@pytest.mark.parametrize("function", [of_mine, functools.partial(of_mine, 1), functools.partial(functools.partial(of_mine), 1)])
def test_the_file_that_a_function_is_of(function: Any) -> None:
    assert slow_calls.source_of(function) == __file__


@pytest.mark.parametrize("where", ["the file itself", "a file that it imports"])
def test_an_import_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(plugins, "IMPORT_SECONDS", seconds_from_begun(monkeypatch, 0.3))
    loop = f"{BEGUN}; x = 0\nwhile True:\n    x += 1\n"
    files = {"a": loop} if where == "the file itself" else {"a": "from . import z\n", "z": loop}
    write(tmp_path, "mine", **files)
    with pytest.raises(BadConfiguration) as fault:
        load_plugins(tmp_path, ["mine"])
    assert fault.value.reason == "PluginFailed"
    file = tmp_path / "mine" / f"{list(files)[-1]}.py"
    assert "The plug-in mine/a.py is not imported after 0.005 minutes; it is at " in fault.value.message
    assert re.search(rf"{re.escape(str(file))}, line [123]", fault.value.message)
    for left in [each for each in threading.enumerate() if each.name == THREAD]:
        left.join(60)
        assert not left.is_alive()
