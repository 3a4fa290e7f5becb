"""How much memory decoded cases may take beside a training."""

import pytest
from nnunet_trainer.training.data.case_memory import CACHE_BYTES
from nnunet_trainer.training.data.loading import budget
from nnunet_trainer.training.data.loading.budget import STEPS, MemoryBudget

GIB = 2**30


@pytest.mark.parametrize(
    ("limit", "ranks", "peak", "beside", "in_use", "available", "used", "expected"),
    [
        (64, 1, 4, 1, 5, 1000, 0, 32),  # no more than half
        (64, 4, 4, 1, 5, 1000, 0, 8),
        (64, 1, 40, 4, 30, 1000, 0, 0.85 * 64 - 44),  # what the training leaves
        (64, 4, 8, 1, 30, 1000, 0, 0.85 * 16 - 9),
        (64, 2, 4, 1, 49, 1000, 2, 2 + (0.85 * 64 - 49) / 2),  # what other processes leave
        (64, 1, 4, 1, 5, 10, 2, 2 + 5),  # half of what the machine has left
        (64, 1, 60, 1, 62, 1000, 3, 3),  # what is kept stays
        (2, 1, 3, 0, 2, 1000, 0, 0.25),  # as much as was always kept
    ],
)
def test_decoded_cases_take_what_a_training_leaves(monkeypatch, limit, ranks, peak, beside, in_use, available, used, expected):
    monkeypatch.setattr(budget, "_peak", lambda: int(peak * GIB))
    monkeypatch.setattr(budget, "_in_use", lambda: int(in_use * GIB))
    monkeypatch.setattr(budget, "_available", lambda: int(available * GIB))
    own = MemoryBudget(limit * GIB, ranks, int(beside * GIB), taken=STEPS)
    assert own.allowed(int(used * GIB)) == pytest.approx(expected * GIB, rel=1e-6)


def test_what_this_process_decodes_is_not_counted_twice(monkeypatch):
    monkeypatch.setattr(budget, "_peak", lambda: 50 * GIB)
    monkeypatch.setattr(budget, "_in_use", lambda: 0)
    monkeypatch.setattr(budget, "_available", lambda: 1000 * GIB)
    assert MemoryBudget(64 * GIB, 1, counted=True, taken=STEPS).allowed(20 * GIB) == int(0.85 * 64 * GIB) - 30 * GIB


def test_little_is_kept_before_anybody_knows_what_a_step_takes(monkeypatch):
    for name, value in (("_peak", GIB), ("_in_use", GIB), ("_available", 100 * GIB)):
        monkeypatch.setattr(budget, name, lambda value=value: value)
    own = MemoryBudget(64 * GIB, 1)
    assert own.allowed(0) == CACHE_BYTES
    own.taken = STEPS
    assert own.allowed(0) > CACHE_BYTES


@pytest.mark.parametrize("stat", ["anon 100\nfile 9\nshmem 20\n", "cache 9\nrss 5\ntotal_rss 100\ntotal_shmem 20\n"])
def test_what_is_in_use_is_read_from_either_version_of_control_groups(tmp_path, monkeypatch, stat):
    (tmp_path / "memory.stat").write_text(stat)
    monkeypatch.setattr(budget, "groups", lambda controller: [tmp_path / "missing", tmp_path])
    assert budget._in_use() == 120


def test_the_peak_is_that_of_this_process():
    assert 10 * 2**20 < budget._peak() < 100 * GIB
    assert budget._available() > 2**20
