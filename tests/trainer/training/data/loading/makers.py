"""What worker processes are told to make in tests, beside batches of cases."""

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
from nnunet_trainer.contract.faults import BadData


def write_late(maker, place, allocate, marker):
    """Write into the batch's memory after this process was replaced: when `<marker>-go` is there, until `<marker>-written` is."""
    arrays = []
    maker(place, lambda *shape: arrays.append(allocate(*shape)) or arrays[-1])
    while not os.path.exists(f"{marker}-go"):
        time.sleep(0.01)
    for array in arrays:
        array[...] = -7
    open(f"{marker}-written", "x").close()
    hang()


def hang():
    """As on a disk that does not answer."""
    threading.Event().wait()


@dataclass(frozen=True)
class Surroundings:
    """What a worker has loaded and started once it has made a batch."""

    maker: object

    def __call__(self, place, allocate=np.empty):
        """Tell."""
        self.maker(place, allocate)
        return {
            "torch": "torch" in sys.modules,
            "threads": len(os.listdir("/proc/self/task")),
            "gpus": os.environ["CUDA_VISIBLE_DEVICES"],
        }


@dataclass(frozen=True)
class Failing:
    """Makes the batch of each place but one."""

    maker: object
    at: tuple
    error: str
    marker: str = ""
    """A file that says that it has hung before."""

    def __call__(self, place, allocate=np.empty):
        """Fails, or ends its process, at its place."""
        if place == self.at:
            match self.error:
                case "fault":
                    raise BadData("Broken", "case 7 is broken", hint="Mend it.")
                case "bug":
                    raise KeyError("a mistake")
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "exit":
                    os._exit(3)
                case "hang":
                    hang()
                case "write late, once" if not os.path.exists(self.marker):
                    open(self.marker, "x").close()
                    write_late(self.maker, place, allocate, self.marker)
                case "hang once":
                    if not os.path.exists(self.marker):
                        open(self.marker, "x").close()
                        hang()
        return self.maker(place, allocate)


@dataclass(frozen=True)
class Waiting:
    """Makes the batch of one place only when somebody has written into a FIFO."""

    maker: object
    at: tuple
    fifo: str

    def __call__(self, place, allocate=np.empty):
        """Wait at its place."""
        if place == self.at:
            with open(self.fifo) as file:
                file.read()
        return self.maker(place, allocate)
