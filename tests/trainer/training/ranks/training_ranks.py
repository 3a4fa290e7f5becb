"""Ranks of real trainings, for `test_trainings.py`: each leaves what it ended with in `end-<rank>.txt`."""

import os
import threading
import time
from pathlib import Path

from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.faults import BadData, Fault
from nnunet_trainer.extensions import load_plugins
from nnunet_trainer.process_exit import abort
from nnunet_trainer.training.loop import checkpointing, fold_training, stopping
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.ranks import peer_watch
from nnunet_trainer.training.state import checkpoint_writer

from trainer.training.conftest import short_setup


def ended(folder, fault):
    """Leave what a rank ends with."""
    (folder / f"end-{os.environ['RANK']}.txt").write_text(f"{fault.reason}: {fault}")
    return int(fault.exit_code)


def trains(preprocessed, results, changes, plugins=None):
    """A short training.

    Args:
        preprocessed: folder with the cases.
        results: folder.
        changes: of the recipe.
        plugins: a folder of plug-ins for each rank.
    """
    folder = Path(results)
    try:
        if plugins is not None:
            load_plugins(Path(plugins[int(os.environ["RANK"])]))
        with stopping.on_signals() as stop:
            train(short_setup(Path(preprocessed), folder, changes, resume=True, stop=stop))
    except Fault as fault:
        return ended(folder, fault)
    return 0


def on_a_slow_disk(preprocessed, results, name):
    """The first rank's disk does not write a checkpoint of this name before it is said that the process is to be ended.

    Another rank fails meanwhile; where it is the final checkpoint, SIGTERM is to come.
    """
    folder, own, final = Path(results), int(os.environ["RANK"]), name == checkpoint.FINAL
    peer_watch.OUT_SECONDS, peer_watch.TICK_SECONDS, peer_watch.TELL_SECONDS = 0.2, 0.05, 0.05
    if final:
        peer_watch.STOP_SHARE = 0.0
    abort.report_with(lambda fault: ended(folder, fault))
    released, save, close = threading.Event(), checkpoint_writer.checkpoint.save, checkpoint_writer.CheckpointWriter.close

    def slow(path, content):
        if path.name == name:
            (folder / "writing").touch()
            assert released.wait(60)
        return save(path, content)

    def closed(writer, seconds=None):
        if threading.current_thread().name == "before-abort":
            released.set()
        close(writer, seconds)

    watch_stop, looks = peer_watch.PeerWatch._watch_stop, []

    def looked(watch, now):
        watch_stop(watch, now)
        if final and watch._stop_since is not None:
            looks.append(now - watch._stop_since)
            if looks[-1] > 4 * peer_watch.TELL_SECONDS:
                released.set()

    write_final = checkpointing.Checkpointing.final

    def begins(checkpoints, **options):
        (folder / f"final-{own}").touch()
        write_final(checkpoints, **options)

    checkpointing.Checkpointing.final = begins
    checkpoint_writer.checkpoint.save, checkpoint_writer.CheckpointWriter.close = slow, closed
    peer_watch.PeerWatch._watch_stop = looked
    if own and not final:
        step = fold_training.iteration.train_step

        def fails(*arguments):
            if (folder / "writing").exists():
                raise BadData("UnknownLabel", "ball_03 holds the value 7.")
            time.sleep(0.01)
            return step(*arguments)

        fold_training.iteration.train_step = fails
    return trains(preprocessed, results, {"epochs": 1 if final else 10_000})
