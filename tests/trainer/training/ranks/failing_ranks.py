"""Ranks that fail in the ways of `test_peers.py`; each leaves how it ended in `end-<rank>.json`.

Which of two things comes first is never left to the machine: where a rank is, and what it has heard, it says with files, for which
the test or another rank waits.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import torch
import torch.distributed as dist
from nnunet_trainer.contract.faults import BadData, Fault
from nnunet_trainer.process_exit import abort
from nnunet_trainer.training.ranks import distributed, peer_links, peer_watch, peers, places, rendezvous

FAILING = 20
"""The step in which it happens."""
WAITS = f"epoch 0, iteration {FAILING}, waiting for data"
EXCHANGES = f"epoch 0, iteration {FAILING}, exchange of gradients"


def rank(folder, culprit, does, settings, later):
    """Steps of an all-reduce, until `culprit` does something else in one of them.

    Files of `folder`: begun, arrived (at the store), connected (the first rank knows it), hangs (before the process group), ready
    (in step `FAILING`, past its last look at who has failed), exchanging (in that step's collective), each with `-<rank>`;
    heard-<rank>-of-<other>, where that one stands; and, written by the test, `later`.

    Args:
        folder: for these files.
        culprit: rank.
        does: what it does.
        settings: values of the product's constants.
        later: more of them, from when the file `later` is there.
    """
    own, end = int(os.environ["RANK"]), Path(folder)
    change(settings)
    if later:
        threading.Thread(target=lambda: (exists(end / "later"), change(later)), daemon=True).start()

    def report(fault):
        told = {"reason": fault.reason, "message": fault.message, "code": int(fault.exit_code)}
        (end / f"end-{own}.json").write_text(json.dumps(told))

    abort.report_with(report)
    says_what_it_hears(end, own)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    says_that_it_arrived(end / f"arrived-{own}")
    if own == culprit:
        misbehave_at_the_start(does, end)
    (end / f"begun-{own}").touch()
    if own == culprit and does == "hangs before it arrives":
        time.sleep(600)
    try:
        with distributed.ranks("cpu", stop) as ranks:
            ranks.peers.before_abort(lambda seconds: finish_writing(seconds, end, own))
            ranks.peers.on_stall(lambda text: (end / f"stall-{own}.txt").write_text(str(text)))
            for step in range(10**6):
                ranks.peers.at(0, step, "waiting for data", 0)
                ranks.peers.check()
                if step == 5:
                    ranks.peers.saved(0, step)
                if step == FAILING:
                    (end / f"ready-{own}").touch()
                    if own == culprit:
                        misbehave(does, end, ranks)
                ranks.peers.at(0, step, "exchange of gradients", 4)
                exchange_gradients(end / f"exchanging-{own}" if step == FAILING else None)
                if distributed.total([float(stop.is_set())])[0]:
                    ranks.peers.stopping()
                    break
                time.sleep(0.02)
    except Fault as fault:
        if own == culprit and does == "fails, and does not go":
            (end / "told").touch()
            time.sleep(600)
        report(fault)
        return int(fault.exit_code)
    return 0


def change(settings):
    for name, value in settings.items():
        setattr(next(module for module in (peers, peer_watch, places) if hasattr(module, name)), name, value)


def exists(*files):
    while not all(file.exists() for file in files):
        time.sleep(0.02)


def says_that_it_arrived(file):
    found_store = rendezvous.dist.TCPStore

    def arrived(*arguments, **options):
        store = found_store(*arguments, **options)
        file.touch()
        return store

    rendezvous.dist.TCPStore = arrived


def says_what_it_hears(folder, own):
    hear, missing = places.Places.hear, peer_links.Links.missing

    def heard(known, rank, place):
        hear(known, rank, place)
        (folder / f"heard-{own}-of-{rank}").write_text(str(place))

    def connected(links, world_size):
        found = missing(links, world_size)
        for rank in {*range(1, world_size)} - {*found}:
            (folder / f"connected-{rank}").touch()
        return found

    places.Places.hear = heard
    if own == 0:
        peer_links.Links.missing = connected


def exchange_gradients(file):
    if file is not None:
        file.touch()
    dist.all_reduce(torch.ones(3))


def finish_writing(seconds, folder, own):
    """As a thread that writes a checkpoint: it takes until the test says so."""
    (folder / f"writing-{own}").write_text(str(seconds))
    until = time.monotonic() + seconds
    while (folder / "the disk is slow").exists() and time.monotonic() < until:
        time.sleep(0.02)
    (folder / f"written-{own}").touch()


def misbehave_at_the_start(does, folder):
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    others = [folder / f"connected-{other}" for other in range(1, world) if other != rank]
    if does == "is killed before it is connected":
        peers.joined = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if does == "is killed before the process group":  # one that comes later would find that the first has gone, who knew why
        dist.init_process_group = lambda *_, **__: (exists(*others), os.kill(os.getpid(), signal.SIGKILL))
    if does == "hangs before the process group":
        dist.init_process_group = lambda *_, **__: ((folder / f"hangs-{rank}").touch(), time.sleep(600))


def misbehave(does, folder, ranks):
    if does == "fails, and does not go":  # the others are past their last look at who has failed
        exists(*[folder / f"ready-{rank}" for rank in range(ranks.world_size)])
    if does.startswith("fails"):
        raise BadData("UnknownLabel", "ball_03 holds the value 7.", hint="Mend it.")
    if does == "has a bug":
        {}["missing"]
    for rank in range(1, ranks.world_size) if ranks.first else [0]:  # from here on it may say no more where it stands
        while told(folder, rank, ranks.rank) != WAITS:
            time.sleep(0.02)
    if does == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "is killed in a collective":
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
        dist.all_reduce(torch.ones(3), group=dist.new_group([dist.get_rank()]))
        time.sleep(600)
    if does == "leaves":
        sys.stdout.flush()
        os._exit(3)
    if does == "hangs":
        time.sleep(600)
    if does == "is frozen":
        os.kill(os.getpid(), signal.SIGSTOP)
    if does == "goes on after a while":
        exists(folder / "go")


def told(folder, rank, other):
    """Where a rank has heard that another stands."""
    file = folder / f"heard-{rank}-of-{other}"
    return file.read_text() if file.exists() else None
