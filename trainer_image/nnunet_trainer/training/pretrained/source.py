"""Where pretrained weights come from by hand: a file, a fold's folder, or a URI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from nnunet_trainer.artifacts import open_store
from nnunet_trainer.artifacts.location import split_file
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.work_order import Location


@contextmanager
def checkpoint_at(where: str) -> Iterator[Path]:
    """A checkpoint as a file of this machine; one that is fetched is gone at the end.

    Args:
        where: a checkpoint file; a fold's folder, for its final checkpoint; or `s3://bucket/key`, `file:///path`. S3 is reached as
            boto3 does by itself: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ~/.aws …

    Raises:
        BadData, StorageFault: it is not there, or cannot be fetched.
    """
    if "://" not in where:
        path = Path(where)
        yield path / checkpoint.FINAL if path.is_dir() else path
        return
    location, name = split_file(Location(uri=where))
    store = open_store(location)
    found = store.local_path(name)
    if found is not None:
        yield found
        return
    with TemporaryDirectory(prefix="nnunet-pretrained-") as folder:
        store.get_file(name, Path(folder) / name)
        yield Path(folder) / name
