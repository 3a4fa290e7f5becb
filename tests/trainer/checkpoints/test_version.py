"""The version that checkpoints bear."""

from importlib import metadata

import pytest
from nnunet_trainer.checkpoints import checkpoint


@pytest.mark.parametrize("installed", ["1.2.3", None])
def test_a_source_tree_on_the_path_trains_without_being_installed(installed, monkeypatch):
    def version(name):
        assert name == "nnunet-operator"
        if installed is None:
            raise metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(metadata, "version", version)
    assert checkpoint.version.__wrapped__() == (installed or "source")
