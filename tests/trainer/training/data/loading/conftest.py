"""Cases to load, what makes batches of them, and loaders."""

import numpy as np
import pytest
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case
from nnunet_trainer.training.data.case_memory import CaseMemory
from nnunet_trainer.training.data.loading.batch_maker import BatchMaker, Schedule
from nnunet_trainer.training.data.loading.budget import MemoryBudget
from nnunet_trainer.training.data.loading.loader import BatchLoader
from nnunet_trainer.training.data.sampling import PatchSampler

SCHEDULE = Schedule(epochs=2, training_iterations=5, validation_iterations=2)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Three small cases."""
    folder, rng = tmp_path_factory.mktemp("cases"), np.random.default_rng(0)
    for number in range(3):
        data, seg = rng.normal(size=(1, 20, 24, 16)).astype(np.float32), rng.integers(-1, 3, (1, 20, 24, 16))
        locations = {label: np.argwhere(seg == label) for label in (1, 2)}
        write_case(folder, f"case_{number}", data, seg, {"class_locations": locations}, (8, 8, 8))
    return PreprocessedFolder(folder)


@pytest.fixture
def loader(store):
    """A loader; keywords change it, `changed` wraps what makes batches."""
    made = []

    def make(changed=lambda maker: maker, room=2**20, **more):
        memory = CaseMemory(store.cases, room, highest_label=2)
        options = {"patch_size": (8, 8, 8), "batch_size": 2, "seed": 1, "fold": "0", "memory": memory}
        samplers = {purpose: PatchSampler(store, store.cases, purpose=purpose, **options) for purpose in ("train", "val")}
        defaults = {
            "maker": changed(BatchMaker(samplers, 2)),
            "schedule": SCHEDULE,
            "memory": memory,
            "budget": MemoryBudget(2**30, 1),
            "slot_bytes": samplers["train"].batch_bytes,
        }
        made.append(BatchLoader(**defaults | more))
        return made[-1]

    yield make
    for each in made:
        each.close()
