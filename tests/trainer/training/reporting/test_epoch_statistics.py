"""What is measured while an epoch trains."""

from types import SimpleNamespace

import pytest
import torch
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.reporting.epoch_statistics import StatisticsCollector, shown
from nnunet_trainer.training.reporting.reporter import Reporter
from nnunet_trainer.training.session import step_phases

from ..conftest import dataset_json

REGIONS = {"regions_class_order": [1, 2]}


@pytest.mark.parametrize("kind", [torch.int16, torch.int64, torch.float32])
@pytest.mark.parametrize(
    ("labels", "values", "expected"),
    [
        ({"background": 0, "a": 1, "b": 2, "c": 3}, [0, 2, 2], [False, True, False]),
        ({"background": 0, "a": 1, "b": 2, "c": 3}, [-1, 0, 0], [False, False, False]),
        ({"background": 0, "a": 1, "b": 2, "ignore": 3}, [3, 1, 3], [True, False]),
    ],
)
def test_labels_that_a_batch_shows(labels, values, expected, kind):
    target = torch.zeros(2, 1, 4, 5, dtype=kind)
    target[1, 0, 2, :3] = torch.tensor(values, dtype=kind)
    before = target.clone()
    assert shown(target, LabelManager(dataset_json(labels))).tolist() == expected
    assert torch.equal(target, before)


def test_regions_that_a_batch_shows():
    labels = LabelManager(dataset_json({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, **REGIONS))
    target = torch.zeros(2, 3, 4, 4, dtype=torch.bool)
    target[0, 2] = True  # ignore
    assert shown(target, labels).tolist() == [False, False]
    target[1, 1, 0, 0] = True
    assert shown(target, labels).tolist() == [False, True]


@pytest.fixture
def statistics(monkeypatch):
    """The statistics of each epoch that is trained."""
    found = []
    inner = Reporter.epoch_done

    def epoch_done(self, statistics):
        found.append(statistics)
        inner(self, statistics)

    monkeypatch.setattr(Reporter, "epoch_done", epoch_done)
    return found


def test_an_epochs_facts(setup, statistics):
    train(setup({"epochs": 2, "gradientClip": 1e-6}))
    assert [f.patches for f in statistics] == [6, 6]
    assert all(f.seen == (True, True) for f in statistics)
    assert [f.clipped for f in statistics] == [1.0, 1.0]
    assert all(f.gradient_norm > 1e-6 for f in statistics)
    # Without threads the batches are made while the network waits.
    assert all(0 < f.waiting < 1 for f in statistics)


def test_gradients_without_a_limit(setup, statistics):
    train(setup({"epochs": 1, "gradientClip": None}))
    assert statistics[0].clipped == 0.0
    assert statistics[0].gradient_norm is None


def test_waiting_is_what_passes_until_an_item_is_there(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(step_phases.time, "perf_counter", lambda: now[0])
    labels = LabelManager(dataset_json())
    session = SimpleNamespace(
        labels=labels,
        ranks=SimpleNamespace(device=torch.device("cpu"), world_size=1),
        phases=(phases := step_phases.StepPhases(torch.device("cpu"))),
        enter=phases.enter,
        configuration=SimpleNamespace(batch_size=2),
        precision=SimpleNamespace(norm=None),
        recipe=SimpleNamespace(gradient_clip=None),
    )

    def items():
        for _ in range(3):
            now[0] += 2.0
            yield "batch"

    measured = StatisticsCollector(session)
    for item in measured.waits(items()):
        assert item == "batch"
        for phase, seconds in ((step_phases.FORWARD, 1.0), (step_phases.BACKWARD, 1.5), (step_phases.OPTIMIZER, 0.5)):
            phases.enter(phase)
            now[0] += seconds
        measured.step([torch.zeros(2, 1, 4, 4, dtype=torch.int16)])
    found = measured.end()
    assert found.waiting == pytest.approx(6 / 15)
    spent = {phase: seconds for phase, seconds in found.seconds.items() if seconds}
    assert spent == {"waiting for data": 6.0, "forward and loss": 3.0, "backward": 4.5, "optimizer": 1.5}
    assert found.patches == 6
    assert found.seen == (False, False)
