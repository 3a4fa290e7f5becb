"""Puts steps that end in every way there is in the place of the real ones, in the processes that the tests start."""

import atexit
import os
import pathlib
import signal
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

HANGS = "rank 1 hangs, rank 0 is stopped"


def carry_out(order, listener):
    from nnunet_trainer.contract.faults import BadData, GpuOutOfMemory, Stopped
    from nnunet_trainer.contract.progress import Progress
    from nnunet_trainer.contract.report import Artifact, Report

    rank = int(os.environ.get("RANK", "0"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    what = os.environ["STEP_DOES"]
    listener(Progress(step=order.step, phase="working", epoch=1, epochs=3, train_loss=0.5))
    if what == "has things to do at its end":
        left = pathlib.Path(os.environ["NNUNET_SCRATCH"])
        atexit.register((left / "at exit").touch)
        threading.Thread(target=lambda: time.sleep(0.2) or (left / "thread").touch()).start()
        ThreadPoolExecutor(1).submit(lambda: time.sleep(0.2) or (left / "pool").touch())
    if what in ("ends well", "has things to do at its end"):
        keep = {k: os.environ.get(k) for k in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")}
        return Report(step=order.step, artifacts=[Artifact(kind="run", uri="file:///x", digest="d")], summary=keep)
    if what == "finds faults":
        raise BadData(
            "InvalidCases", "300 of 400 cases", hint="Repair them.", findings=[f"case_{i}: its label holds 7" for i in range(300)]
        )
    if what == "has a bug":
        {}["missing"]
    if what == "runs out of memory":
        raise MemoryError
    if what == "runs out of GPU memory":
        raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2.00 GiB")
    if what == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "leaves":
        os._exit(9)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if what == "rank 1 fails" and rank == 1:
        raise GpuOutOfMemory("OutOfGPUMemory", "too small")
    if what == "rank 1 is killed" and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if what in ("rank 1 ignores the end", HANGS):
        deaf = pathlib.Path(os.environ["NNUNET_SHARED"]) / "rank 1 is deaf"
        if rank == 1:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            deaf.touch()
            threading.Event().wait(600)
        while not deaf.exists():
            time.sleep(0.02)
        if what != HANGS:
            raise BadData("Bad", "rank 0 says so")
    if what.startswith("rank 0 is stopped, then rank 1 ") and rank < 2:
        first = pathlib.Path(os.environ["NNUNET_SHARED"]) / "pid-of-rank-0"
        if rank == 0:
            first.with_name("part").write_text(str(os.getpid()))
            first.with_name("part").rename(first)
            raise Stopped("Stopped", "A checkpoint of epoch 2 is saved.")
        while not first.exists() or pathlib.Path(f"/proc/{first.read_text()}").exists():  # until its end is seen
            time.sleep(0.02)
        does = what.removeprefix("rank 0 is stopped, then rank 1 ")
        if does == "raises":
            raise BadData("Bad", "rank 1 says so")
        if does == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if does == "leaves":
            os._exit(9)
    if what == "rank 0 is stopped, then rank 1 is stopped":
        raise Stopped("Stopped", "Another rank was stopped.")
    listener(Progress(step=order.step, phase="waiting", epoch=2, done=world))
    stop.wait(60)
    if what in ("is stopped", HANGS):
        raise Stopped("Stopped", "A checkpoint of epoch 2 is saved.")
    return Report(step=order.step)


step = types.ModuleType("nnunet_trainer.steps.train")
step.carry_out = carry_out
sys.modules["nnunet_trainer.steps.train"] = step

if os.environ.get("STEP_DOES") == HANGS and "RANK" not in os.environ:  # the supervisor
    from nnunet_trainer.contract import pod

    # The seconds after which it kills its ranks begin when the first one has ended, however late that is.
    pod.ranks_seconds = lambda: (os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT), 1)[1]
