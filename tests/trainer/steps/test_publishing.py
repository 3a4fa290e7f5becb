"""A fold that two Jobs publish at once is one of theirs, whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nnunet_trainer.artifacts import ObjectStore, artifact, digests, open_store
from nnunet_trainer.artifacts.digests import FileEntry
from nnunet_trainer.contract.work_order import Location
from nnunet_trainer.steps import publishing
from nnunet_trainer.training.recipes import presets

MODEL = "runs/ns/run/0123/nnUNet_results/Dataset001_A/T__P__C"
FOLD = f"{MODEL}/fold_0"


class Trained:
    """The folders that a training leaves."""

    def __init__(self, folder: Path, content: str) -> None:
        self.model_folder, self.fold_folder = folder, folder / "fold_0"
        self.seed, self.recipe = 1, presets.resolve("nnUNetTrainer", None, {})
        self.continues = None
        for name in ("checkpoint_final.pth", "validation/case_1.nii.gz", f"training_log_{content}.txt"):
            path = self.fold_folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)


@pytest.mark.parametrize("file", ["checkpoint_final.pth", "validation/case_1.nii.gz", "report.json"])
def test_written_over_while_it_is_published(tmp_path: Path, file: str) -> None:
    store = open_store(Location(uri=f"file://{tmp_path}/store"))
    ours, theirs = Trained(tmp_path / "ours", "ours"), Trained(tmp_path / "theirs", "longer than ours")
    put_file, put = store.put_file, store.put

    def let_them_in(key: str) -> None:
        if key == f"{FOLD}/{file}":
            store.put_file, store.put = put_file, put  # type: ignore[method-assign]
            publish(store, theirs, "theirs")

    def slow_put_file(path: Path, key: str) -> None:
        put_file(path, key)
        let_them_in(key)

    def slow_put(key: str, data: bytes) -> None:
        put(key, data)
        let_them_in(key)

    store.put_file, store.put = slow_put_file, slow_put  # type: ignore[method-assign]
    publish(store, ours, "ours")
    found = artifact.find(store, FOLD)
    assert found is not None
    assert not artifact.damaged(found)
    assert found.manifest.summary == {"of": "ours"}
    for path in found.files:
        found.read(path)  # has the content that the manifest says


def test_checkpoints_that_are_in_the_store_are_copied_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, ours = open_store(Location(uri=f"file://{tmp_path}/store")), Trained(tmp_path / "ours", "ours")
    final = ours.fold_folder / "checkpoint_final.pth"
    final.write_text("trained weights")
    wanted = digests.entry(final, final.name).sha256
    store.put("attempts/0/checkpoint_00001_00001.pth", final.read_bytes())
    put: list[str] = []
    put_file = store.put_file
    store.put_file = lambda path, key: put.append(key) or put_file(path, key)  # type: ignore[method-assign, func-returns-value]

    def there(entry: FileEntry) -> str | None:
        return "attempts/0/checkpoint_00001_00001.pth" if entry.sha256 == wanted else None

    publishing.publish(store, FOLD, "01" * 32, ours, {}, there)  # type: ignore[arg-type]
    store.delete("attempts/0/checkpoint_00001_00001.pth")
    assert sorted(key.removeprefix(f"{FOLD}/") for key in put) == ["training_log_ours.txt", "validation/case_1.nii.gz"]
    found = artifact.require(store, "run", prefix=FOLD)
    assert found.read("checkpoint_final.pth") == b"trained weights"


def publish(store: ObjectStore, trained: Any, of: str) -> None:
    publishing.publish(store, FOLD, "01" * 32, trained, {"of": of})
