"""Ranks that fail in the ways of `test_peers.py`; each leaves how it ended in `end-<rank>.json`."""

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
from nnunet_trainer.training.ranks import distributed, peer_watch, peers, places, rendezvous

FAILING = 20
"""The step in which it happens."""


def rank(folder, culprit, does, settings):
    """Steps of an all-reduce, until `culprit` does something else in one of them."""
    for name, value in settings.items():
        setattr(next(module for module in (peers, peer_watch, places) if hasattr(module, name)), name, value)
    own, end = int(os.environ["RANK"]), Path(folder)

    def report(fault):
        told = {"reason": fault.reason, "message": fault.message, "code": int(fault.exit_code)}
        (end / f"end-{own}.json").write_text(json.dumps(told))

    abort.report_with(report)
    if own == culprit and does == "is killed before it is connected":
        peers.joined = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if own == culprit and does == "is killed before the process group":
        dist.init_process_group = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    (end / f"begun-{own}").touch()
    found_store = rendezvous.dist.TCPStore

    def arrived(*arguments, **options):
        store = found_store(*arguments, **options)
        (end / f"arrived-{own}").touch()
        return store

    rendezvous.dist.TCPStore = arrived
    if own == culprit and does == "hangs before it arrives":
        time.sleep(600)
    if own == culprit and does == "hangs before the process group":
        dist.init_process_group = lambda *_, **__: hang(end / f"ready-{own}")
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
                        misbehave(does, end, int(os.environ["WORLD_SIZE"]))
                ranks.peers.at(0, step, "exchange of gradients", 4)
                dist.all_reduce(torch.ones(3))
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


def hang(ready):
    ready.touch()
    time.sleep(600)


def finish_writing(seconds, folder, own):
    """As a thread that writes a checkpoint: it takes until the test says so."""
    (folder / f"writing-{own}").write_text(str(seconds))
    until = time.monotonic() + seconds
    while (folder / "the disk is slow").exists() and time.monotonic() < until:
        time.sleep(0.02)
    (folder / f"written-{own}").touch()


def misbehave(does, folder, world):
    if does == "fails, and does not go":  # the others are past their last look at who has failed
        while not all((folder / f"ready-{rank}").exists() for rank in range(world)):
            time.sleep(0.02)
    if does.startswith("fails"):
        raise BadData("UnknownLabel", "ball_03 holds the value 7.", hint="Mend it.")
    if does == "has a bug":
        {}["missing"]
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
        while not (folder / "go").exists():
            time.sleep(0.05)
