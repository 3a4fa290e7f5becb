"""Batches in order, the same whoever makes them, whatever happens to who makes them."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from nnunet_trainer.contract.faults import BadData, Temporary
from nnunet_trainer.extensions import load_plugins
from nnunet_trainer.training.data.loading import loader as loader_module
from nnunet_trainer.training.data.loading import process_pool, worker_process
from nnunet_trainer.training.data.loading.batch_maker import BatchMaker, Place
from nnunet_trainer.training.data.loading.budget import MemoryBudget
from nnunet_trainer.training.data.loading.worker_process import WorkerProcess
from support.apiclient import wait_until
from support.plugins import isolated, write

from .conftest import SCHEDULE
from .makers import Failing, Surroundings, Waiting

HOWS = {"asked for": {}, "threads": {"workers": 2}, "processes": {"workers": 2, "processes": True}}
PROCESSES = HOWS["processes"]
PROCESS = {"workers": 1, "processes": True}
PLACES = [
    Place(purpose, epoch, iteration)
    for epoch in range(2)
    for purpose, count in (("train", 5), ("val", 2))
    for iteration in range(count)
]


def all_of(loader, places=PLACES):
    """Copies of all batches of a training."""
    return [copied(loader._take(place)) for place in places]


def copied(batch):
    return batch.mapped(np.copy)


def same(a, b):
    return np.array_equal(a.data, b.data) and np.array_equal(a.seg, b.seg) and (a.keys, a.cases) == (b.keys, b.cases)


@pytest.fixture
def expected(loader):
    make = loader().maker
    return [copied(make(place)) for place in PLACES]


def test_the_schedule_is_that_of_a_training():
    places = [PLACES[0]]
    while following := SCHEDULE.after(places[-1]):
        places.append(following)
    assert places == PLACES


@pytest.mark.parametrize("how", HOWS)
def test_batches_are_the_same_whoever_makes_them(loader, expected, how):
    made = loader(**HOWS[how])
    found = []
    for epoch in range(2):
        found += map(copied, made.batches("train", epoch, 5))
        found += map(copied, made.batches("val", epoch, 2))
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("how", [HOWS["threads"], PROCESS], ids=["threads", "process"])
def test_it_knows_whether_the_next_one_is_there(loader, expected, tmp_path, how):
    fifo = tmp_path / "go-on"
    os.mkfifo(fifo)
    made = loader(lambda maker: Waiting(maker, PLACES[2], str(fifo)), **how)
    assert not made.ready, "nothing is begun"
    made._take(PLACES[0])
    _until_ready(made)
    assert same(copied(made._take(PLACES[1])), expected[1])
    assert not made.ready
    fifo.write_text("")
    _until_ready(made)
    assert same(copied(made._take(PLACES[2])), expected[2])


def _until_ready(made):
    until = time.monotonic() + 60
    while not made.ready:
        assert time.monotonic() < until
        threading.Event().wait(0.01)


def test_without_workers_nothing_is_there_before_it_is_asked_for(loader):
    made = loader()
    made._take(PLACES[0])
    assert not made.ready


@pytest.mark.parametrize("how", HOWS)
def test_what_is_asked_for_out_of_order_comes_too(loader, expected, how):
    places = [3, 4, 8, 9, 2, 13, 0]
    found = all_of(loader(**HOWS[how]), [PLACES[place] for place in places])
    assert all(same(batch, expected[place]) for batch, place in zip(found, places, strict=True))


@pytest.mark.parametrize("how", [HOWS["threads"], PROCESS], ids=["threads", "process"])
def test_a_closed_loader_begins_anew(loader, expected, how):
    made = loader(**how)
    assert same(all_of(made, PLACES[:1])[0], expected[0])
    used = made.memory.used
    made.close()
    assert made.memory.used == 0 < used
    assert same(all_of(made, PLACES[4:5])[0], expected[4])


def test_what_is_made_ahead_goes_on_through_validation_and_the_next_epoch(loader):
    made = loader(workers=2)
    for place in PLACES[:4]:
        made._take(place)
    assert list(made._expected) == PLACES[4:7]
    for place in PLACES[4:12]:
        made._take(place)
    assert list(made._expected) == PLACES[12:], "and ends with the training"


def test_each_case_is_decoded_once_for_all_workers(loader, expected):
    made = loader(**PROCESSES)
    all_of(made)
    assert made.memory.used == 3 * 20 * 24 * 16 * (4 + 1)


def test_without_room_for_cases_batches_are_the_same(loader, expected):
    made = loader(room=0, **PROCESS)
    assert all(same(a, b) for a, b in zip(all_of(made), expected, strict=True))
    assert made.memory.used == 0


def test_a_worker_that_reads_loads_no_torch_and_starts_no_threads(loader):
    made = loader(Surroundings, **PROCESS)
    assert made._take(PLACES[0]) == {"torch": False, "threads": 1, "gpus": ""}


class Fence:
    """As a GPU's event: the copy out of a batch's memory takes until somebody waits for it."""

    done = False

    def query(self):
        return self.done

    def synchronize(self):
        self.done = True


PLUGIN = """
    import dataclasses

    from nnunet_trainer.extensions import register

    @register("schedule", "Flat")
    def flat(epochs: int):
        "Always the same."
        return lambda epoch, history: 1.0

    @dataclasses.dataclass
    class Shifting:
        maker: object

        def __call__(self, place, allocate):
            batch = self.maker(place, allocate)
            batch.data[:] += 1
            return batch
"""


@pytest.mark.parametrize("held", [False, True], ids=["beside the batches", "in what makes them"])
def test_workers_have_the_plugins_of_the_training(loader, expected, tmp_path, held):
    write(tmp_path, "mine", shifting=PLUGIN)
    with isolated():
        load_plugins(tmp_path, ["mine"])
        shifting = next(m.Shifting for n, m in sys.modules.items() if n.startswith("nnunet_plugin_") and n.endswith(".shifting"))
        made = loader(shifting if held else lambda maker: maker, **PROCESS)
        found = copied(made._take(PLACES[0]))
        made.close()
    assert np.array_equal(found.data, expected[0].data + held)


def test_memory_that_a_gpu_still_copies_is_not_written_over(loader, expected):
    fences = []
    made = loader(fence=lambda: fences.append(Fence()) or fences[-1], **PROCESS)
    found = [made._take(place) for place in PLACES[:3]]
    assert all(same(a, b) for a, b in zip(found, expected[:3], strict=True)), "not copied by us either"
    assert not any(fence.done for fence in fences)
    assert all(same(copied(made._take(place)), batch) for place, batch in zip(PLACES[3:], expected[3:], strict=True))
    assert any(fence.done for fence in fences), "where all memory waits for copies, they are waited for"


def test_workers_that_are_killed_at_random_change_nothing(loader, expected, monkeypatch):
    said, chance = [], np.random.default_rng(0)
    monkeypatch.setattr(process_pool, "TRIES", 100)  # how far a worker has come before it is killed depends on the machine
    made = loader(warn=said.append, **PROCESSES)
    found = []
    for place in PLACES:
        found.append(copied(made._take(place)))
        if chance.random() < 0.4:
            os.kill(int(chance.choice(made.pids)), signal.SIGKILL)
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))
    assert said
    assert all("SIGKILL" in line and "takes its place" in line for line in said)


def hurried(monkeypatch):
    monkeypatch.setattr(process_pool, "HANG_SECONDS", 0.2)
    monkeypatch.setattr(process_pool, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(worker_process, "STACK_SECONDS", 60.0)


def once_it_hangs(pid, marker, hurry):
    """Call `hurry` when a worker has come to what it does once and sleeps there: before that it may just be slow."""

    def look():
        wait_until(lambda: marker.exists() and state(pid) == "S")
        hurry()

    threading.Thread(target=look, daemon=True).start()


def test_a_worker_that_hangs_is_named_with_where_it_stands_and_replaced(loader, expected, monkeypatch, tmp_path, caplog):
    said = []

    def warn(line):
        said.append(line)
        monkeypatch.undo()  # the next one has to start first

    made = loader(lambda maker: Failing(maker, PLACES[3], "hang once", str(tmp_path / "hung")), warn=warn, **PROCESS)
    found = all_of(made, PLACES[:3])
    (pid,) = made.pids
    monkeypatch.setattr(process_pool, "LOOK_SECONDS", 0.05)
    once_it_hangs(pid, tmp_path / "hung", lambda: hurried(monkeypatch))
    found += all_of(made, PLACES[3:])
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))
    [line] = said
    assert line.startswith(
        f"The worker process {pid}, which reads training data, hung for 0.00333333 minutes in wait (threading.py, line "
    )
    assert "takes its place" in line
    assert "in hang\n" in caplog.text, "its whole stack"


@pytest.mark.parametrize("spare", [loader_module.SPARE_SLOTS, 0])
def test_a_worker_that_cannot_be_killed_writes_into_nobody_elses_batch(loader, expected, monkeypatch, tmp_path, spare):
    """As one that waits in the kernel for a disk."""
    monkeypatch.setattr(loader_module, "SPARE_SLOTS", spare)
    marker = tmp_path / "late"
    made = loader(lambda maker: Failing(maker, PLACES[3], "write late, once", str(marker)), warn=lambda line: None, **PROCESS)
    found = all_of(made, PLACES[:3])
    (stuck,) = made.pids
    kill = WorkerProcess.kill
    with monkeypatch.context() as patch:
        patch.setattr(WorkerProcess, "kill", lambda each: each.connection.close() if each.process.pid == stuck else kill(each))
        patch.setattr(worker_process, "KILL_SECONDS", 0.0)
        patch.setattr(process_pool, "LOOK_SECONDS", 0.05)
        where = WorkerProcess.where
        patch.setattr(WorkerProcess, "where", lambda each: patch.setattr(process_pool, "HANG_SECONDS", 600.0) or where(each))
        once_it_hangs(stuck, marker, lambda: patch.setattr(process_pool, "HANG_SECONDS", 0.2))
        batch = made._take(PLACES[3])
        marker.with_name("late-go").touch()
        wait_until(marker.with_name("late-written").exists)
        assert same(batch, expected[3])
        found += [copied(batch), *all_of(made, PLACES[4:8])]
    assert made._pool._withheld
    os.kill(stuck, signal.SIGKILL)
    wait_until(lambda: made._pool.room and not made._pool._withheld)
    found += all_of(made, PLACES[8:])
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def test_a_batch_at_which_every_worker_hangs_ends_the_training(loader, monkeypatch):
    made = loader(lambda maker: Failing(maker, PLACES[1], "hang"), warn=lambda line: None, **PROCESS)
    made._take(PLACES[0])
    hurried(monkeypatch)
    monkeypatch.setattr(process_pool, "TRIES", 1)
    with pytest.raises(Temporary, match=r"hung for .* \(epoch 0, train iteration 1\)") as caught:
        made._take(PLACES[1])
    assert caught.value.reason == "WorkerHung"


def test_a_worker_that_nobody_waits_for_does_not_hang(loader, expected, monkeypatch):
    made = loader(warn=pytest.fail, **PROCESS)
    found = all_of(made, PLACES[:1])
    monkeypatch.setattr(process_pool, "HANG_SECONDS", 0.0)
    found += all_of(made, PLACES[1:])
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def test_what_tells_a_training_to_stop_does_not_reach_its_workers(loader, expected):
    made = loader(**PROCESSES)
    made._pool = made._started()
    pids = made.pids
    assert all(os.getpgid(pid) != os.getpgid(0) for pid in pids), "Ctrl-C goes to the whole group"
    # Also while they start.
    for pid, number in zip(pids, (signal.SIGTERM, signal.SIGINT), strict=True):
        os.kill(pid, number)
    found = all_of(made)
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))
    assert made.pids == pids


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        ("fault", BadData, r"case 7 is broken\nMend it"),
        ("bug", KeyError, "a mistake"),
        ("kill", Temporary, r"SIGKILL; it was the 3rd one .* \(epoch 0, train iteration 3\)"),
        ("exit", Temporary, "ended with exit code 3; it was the 3rd one"),
    ],
)
def test_what_cannot_be_made_is_told_at_its_place(loader, expected, error, raised, message):
    made = loader(lambda maker: Failing(maker, PLACES[3], error), warn=lambda line: None, **PROCESS)
    assert all(same(a, b) for a, b in zip(all_of(made, PLACES[:3]), expected[:3], strict=True))
    with pytest.raises(raised, match=message) as caught:
        made._take(PLACES[3])
    if error == "bug":
        assert "makers.py" in caught.value.__notes__[0]


def test_a_worker_that_was_killed_for_memory_is_told_so_and_nothing_more_is_kept(loader, expected, monkeypatch):
    kills, said = [0], []
    monkeypatch.setattr(process_pool, "oom_kills", lambda: kills[0])
    made = loader(warn=said.append, **PROCESS)
    found = all_of(made, PLACES[:2])
    used, kills[0] = made.memory.used, 1
    os.kill(made.pids[0], signal.SIGKILL)
    found += all_of(made, PLACES[2:])
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))
    assert "was killed by the kernel for want of memory (the limit is" in said[0]
    assert made.memory._header[1] == 0, "what may be kept"
    assert made.memory.used <= max(used, 3 * 20 * 24 * 16 * 5)


PARENT = """
import sys
from pathlib import Path
from nnunet_trainer.preprocessing.storage import PreprocessedFolder
from nnunet_trainer.training.data.case_memory import CaseMemory
from nnunet_trainer.training.data.loading.batch_maker import BatchMaker, Schedule
from nnunet_trainer.training.data.loading.budget import MemoryBudget
from nnunet_trainer.training.data.loading.loader import BatchLoader
from nnunet_trainer.training.data.sampling import PatchSampler

store = PreprocessedFolder(Path(sys.argv[1]))
memory = CaseMemory(store.cases)
sampler = PatchSampler(store, store.cases, patch_size=(8, 8, 8), batch_size=2, seed=1, fold="0", memory=memory)
loader = BatchLoader(maker=BatchMaker({"train": sampler}, 2), schedule=Schedule(9, 9, 0), memory=memory,
                     budget=MemoryBudget(2**30, 1), workers=2, processes=True, slot_bytes=sampler.batch_bytes)
next(loader.batches("train", 0, 9))
print(*loader.pids, flush=True)
sys.stdin.read()
"""


def test_workers_end_with_their_parent(store):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(store.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    until = time.monotonic() + 60
    while any(running(pid) for pid in pids):
        assert time.monotonic() < until, "they are left behind"
        time.sleep(0.02)


def running(pid):
    return state(pid) not in ("Z", None)


def state(pid):
    """As ps gives it: S sleeps, Z is a zombie; None: there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def test_fewer_workers_read_where_memory_is_short(loader, expected):
    said = []
    small = loader().slot_bytes()
    made = loader(warn=said.append, workers=8, processes=True, budget=MemoryBudget(8 * 5 * small, 1))
    assert all(same(a, b) for a, b in zip(all_of(made), expected, strict=True))
    assert len(made.pids) == 2
    made.close()
    made._take(PLACES[0])
    (text,) = said  # however often it begins anew
    assert "2 worker processes read instead of 8" in text


def test_labels_that_nobody_has_named_are_told_by_their_case(loader):
    made = loader(lambda maker: BatchMaker(maker.samplers, 1), **PROCESS)
    with pytest.raises(BadData, match=r"label of case_\d holds the value 2; dataset.json names 0 to 1"):
        all_of(made)
