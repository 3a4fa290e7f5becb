"""Where weights come from by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from nnunet_trainer.artifacts import open_store
from nnunet_trainer.contract.faults import BadConfiguration, Fault
from nnunet_trainer.contract.work_order import Location
from nnunet_trainer.training import pretrained
from nnunet_trainer.training.pretrained.source import checkpoint_at
from support.s3 import ACCESS_KEY, SECRET_KEY

from .conftest import build

Save = Callable[..., Path]


def test_a_file_a_folds_folder_and_a_uri(saved: Save, tmp_path: Path) -> None:
    path = saved(build())
    for where in (str(path), f"file://{path}"):
        with checkpoint_at(where) as found:
            assert found == path
    path.rename(tmp_path / "checkpoint_final.pth")
    with checkpoint_at(str(tmp_path)) as found:
        assert found == tmp_path / "checkpoint_final.pth"
    with checkpoint_at(str(tmp_path / "nowhere.pth")) as found, pytest.raises(Fault, match=r"no checkpoint at .*nowhere\.pth"):
        pretrained.load(build(), found)


@pytest.mark.s3
def test_s3_by_the_persons_own_credentials(s3: Location, saved: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """As boto3 finds them: no Secret is mounted."""
    open_store(s3).put_file(saved(build()), "weights.pth")
    assert s3.endpoint is not None
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with checkpoint_at(f"{s3.uri}/weights.pth") as found:
        assert pretrained.load(build(seed=1), found, source="s3").mismatched == []
    assert not found.exists()
    with pytest.raises(Fault, match="absent"), checkpoint_at(f"{s3.uri}/absent.pth"):
        pass


@pytest.mark.parametrize("where", ["s3://bucket", "https://example.org/c.pth"])
def test_what_is_no_uri_of_a_file(where: str) -> None:
    with pytest.raises(BadConfiguration, match=r"URI|names no file"), checkpoint_at(where):
        pass
