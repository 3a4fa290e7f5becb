"""An error that comes of a plug-in's line is the plug-in's fault, wherever it was called from; no other is."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.extensions import find, load_plugins, plugins
from nnunet_trainer.extensions.uncaught_errors import plugins_fault
from support.datasets import make_dataset
from support.plugins import isolated, write

PLUGIN = """
    from functools import reduce
    from nnunet_trainer.dataset.readers.nifti import NibabelIO
    from nnunet_trainer.extensions import register

    def fail(error):
        raise error

    @register("normalization", "Fails")
    def fails(image, seg, use_mask, properties):
        fail(image)

    @register("normalization", "FailsWithin")
    def fails_within(image, seg, use_mask, properties):
        reduce(lambda a, b: int("x"), [1, 2])

    @register("normalization", "FailsInALibrary")
    def fails_in_a_library(image, seg, use_mask, properties):
        import json

        json.loads("{")

    @register("reader", "FailsEarly")
    class FailsEarly(NibabelIO):
        name = "FailsEarly"
        file_endings = (".odd.nii.gz",)

        def companions(self, path, *, label=False):
            return 1 / 0
"""


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with isolated():
        yield


def failure(name: str, error: Any = None) -> BaseException:
    try:
        find("normalization", name).make(error, None, False, {})
    except BaseException as raised:
        return raised
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("installed", [False, True], ids=["mounted", "installed"])
@pytest.mark.parametrize(
    ("name", "place", "error"),
    [
        ("Fails", "line 7: raise error", "ValueError: of mine"),
        ("FailsWithin", "line 15: reduce(lambda", "ValueError: invalid literal"),
        ("FailsInALibrary", 'line 21: json.loads("{")', "JSONDecodeError: Expecting"),
    ],
)
def test_an_error_of_a_plugins_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool, name: str, place: str, error: str
) -> None:
    folder = write(tmp_path, "mine", of_mine=PLUGIN)
    if installed:
        entry = metadata.EntryPoint("own", "of_mine", plugins.ENTRY_POINTS)
        monkeypatch.setattr(plugins, "_entry_points", lambda: {"mine": [entry]})
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setitem(sys.modules, "of_mine", None)
        del sys.modules["of_mine"]  # and after the test again
        load_plugins(None)
    else:
        load_plugins(tmp_path, ["mine"])
    fault = plugins_fault(failure(name, ValueError("of mine")))
    assert fault is not None
    assert (fault.reason, fault.hint) == ("PluginFailed", "Mend the plug-in.")
    assert "The plug-in mine fails in " in fault.message
    assert f"{folder / 'of_mine.py'}, {place}" in fault.message
    assert error in fault.message


@pytest.mark.parametrize(
    "error",
    [
        BadData("InvalidCases", "of the data"),
        MemoryError(),
        OSError(errno.ENOSPC, "No space left on device"),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2.00 GiB"),
        type("AcceleratorError", (RuntimeError,), {})("CUDA error: uncorrectable ECC error encountered"),
        RuntimeError("CUDA error: unspecified launch failure"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_fault_of_a_plugin(tmp_path: Path, error: BaseException) -> None:
    write(tmp_path, "mine", of_mine=PLUGIN)
    load_plugins(tmp_path, ["mine"])
    assert plugins_fault(failure("Fails", error)) is None


def test_what_a_plugins_kernel_asserts_is_its_fault(tmp_path: Path) -> None:
    write(tmp_path, "mine", of_mine=PLUGIN)
    load_plugins(tmp_path, ["mine"])
    fault = plugins_fault(failure("Fails", RuntimeError("CUDA error: device-side assert triggered")))
    assert fault is not None
    assert "device-side assert" in fault.message


def test_an_error_of_our_own_is_no_plugins(tmp_path: Path) -> None:
    write(tmp_path, "mine", of_mine=PLUGIN)
    load_plugins(tmp_path, ["mine"])
    with pytest.raises(ImportError) as raised:
        importlib.import_module("nowhere_at_all")
    assert plugins_fault(raised.value) is None


def test_a_command_says_it_without_a_stack_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, "mine", of_mine=PLUGIN)
    raw = make_dataset(tmp_path / "Dataset001_A", cases=2, shape=(6, 14, 12), ending=".odd.nii.gz")
    arguments = ["fingerprint", str(raw), "--plugins", str(folder), "--workers", "1", "-o", str(tmp_path / "f.json")]
    assert cli.main(arguments) == 78
    err = capsys.readouterr().err
    assert err.startswith("PluginFailed: The plug-in mine fails in companions: ZeroDivisionError: division by zero (")
    assert "Traceback" not in err
