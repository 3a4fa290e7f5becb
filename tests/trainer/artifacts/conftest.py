from __future__ import annotations

from pathlib import Path

import pytest
from nnunet_trainer.artifacts import ObjectStore, open_store
from nnunet_trainer.contract.work_order import Location
from support.s3 import s3, s3_server  # noqa: F401


@pytest.fixture(params=["file", "pvc", pytest.param("s3", marks=pytest.mark.s3)])
def location(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    """The same tests for every kind of store."""
    if request.param == "s3":
        return request.getfixturevalue("s3")
    if request.param == "pvc":
        monkeypatch.setenv("NNUNET_PVC", str(tmp_path / "claims"))
        (tmp_path / "claims/data").mkdir(parents=True)
        return Location(uri="pvc://data/below/here")
    return Location(uri=f"file://{tmp_path}/store")


@pytest.fixture
def store(location: Location) -> ObjectStore:
    return open_store(location)
