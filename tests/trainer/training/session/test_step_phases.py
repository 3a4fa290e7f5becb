"""A GPU's clock, without one: events that are passed when their GPU has come so far, and are asked for no time before that."""

import pytest
import torch
from nnunet_trainer.training.session.step_phases import BACKWARD, FORWARD, PHASES, WAITING, StepPhases


class Gpu:
    """Passes one event a second; `passed` of them so far."""

    def __init__(self):
        self.recorded, self.passed = 0, 0

    def event(self, enable_timing=False):
        assert enable_timing
        return Event(self)


class Event:
    def __init__(self, gpu):
        self.gpu, self.number = gpu, 0

    def record(self):
        self.gpu.recorded += 1
        self.number = self.gpu.recorded

    def query(self):
        return self.number <= self.gpu.passed

    def synchronize(self):
        self.gpu.passed = max(self.gpu.passed, self.number)

    def elapsed_time(self, other):
        assert self.query(), "device not ready"
        assert other.query(), "device not ready"
        return 1000.0 * (other.number - self.number)


@pytest.fixture
def gpu(monkeypatch):
    found = Gpu()
    monkeypatch.setattr(torch.cuda, "Event", found.event)
    return found


@pytest.mark.parametrize("passed", range(5))
def test_the_clock_is_read_as_far_as_the_gpu_has_come(gpu, passed):
    """As at the end of an epoch whose last losses were read already: two events follow that nobody has waited for."""
    phases = StepPhases(torch.device("cuda"))
    for phase in (WAITING, FORWARD, BACKWARD, None):
        phases.enter(phase)
    gpu.passed = passed
    phases.look()
    phases.look()
    assert gpu.passed == passed, "nobody has waited"
    phases.enter(WAITING)
    taken = phases.take()
    assert taken == dict.fromkeys(PHASES, 0.0) | dict.fromkeys((WAITING, FORWARD, BACKWARD), 1.0)
    phases.enter(BACKWARD)
    assert phases.take() == dict.fromkeys(PHASES, 0.0) | {WAITING: 1.0}, "what had begun is counted where it ends"


def test_nothing_was_asked_for(gpu):
    phases = StepPhases(torch.device("cuda"))
    phases.look()
    assert not any(phases.take().values())
