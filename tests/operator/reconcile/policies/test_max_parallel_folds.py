"""`spec.maxParallelFolds`: so many folds have a Job at a time."""

from __future__ import annotations

from collections.abc import Callable

from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


def test_so_many_folds_at_a_time(train: Train) -> None:
    world = train(folds=["0", "1", "2"], maxParallelFolds=2)
    assert {job["metadata"]["labels"]["nnunet.dev/fold"] for job in world.jobs()} == {"0", "1"}
    assert "maxParallelFolds is 2" in world.fold("run", "2")["message"]
    world.fail(world.job(fold="0"), 1)
    world.settle()
    assert not world.jobs(fold="2"), "who is about to try again keeps the place"
    world.finish(world.job(fold="1"))
    world.settle()
    assert world.jobs(fold="2")
