"""An API server that answers, but not as it should; and a clock that jumps."""

from __future__ import annotations

from pathlib import Path

from ..controlplane import ControlPlane
from .api_proxy import FAULTS, ApiProxy
from .supervisor import Supervisor
from .trial import Count, Trial


def requests_refused(plane: ControlPlane, folder: Path, *, runs: int, share: float, seed: int) -> Count:
    """A share of the operator's requests is refused (429, 500, 503), or done without an answer; watches break."""
    count = Count("requests answered 429, 500, 503, or not at all")
    with Trial(plane, folder, seed=seed) as trial, ApiProxy(plane, share=share, seed=seed) as proxy:
        kubeconfig = proxy.kubeconfig(folder / "through-the-proxy", plane.kubeconfig)
        with Supervisor(trial.operator(kubeconfig=kubeconfig)):
            trial.prepare()
            for number in range(runs):
                trial.run(number)
            while set(proxy.done) != set(FAULTS) and trial.pace(10):
                pass
            trial.pace(6 * runs)
            proxy.share = 0.0  # what ended in a long back-off may still need its time
            count.tried = sum(proxy.done.values())
            return trial.settle(count, timeout=400)


def clock_jumps(plane: ControlPlane, folder: Path, *, runs: int, jumps: int, forsaken: bool, seed: int) -> Count:
    """The clock that the operator goes by jumps by hours, forwards and back, while pods are deleted by hand.

    Args:
        forsaken: these pods never end.
    """
    count = Count("clock jumps by hours")
    with Trial(plane, folder, seed=seed, forsaken=forsaken) as trial, ApiProxy(plane, share=0.0, seed=seed) as proxy:
        kubeconfig = proxy.kubeconfig(folder / "through-the-proxy", plane.kubeconfig)
        with Supervisor(trial.operator(kubeconfig=kubeconfig)):
            trial.prepare()
            for number in range(runs):
                trial.run(number)
            for _ in range(jumps):
                if not trial.pace(trial.random.randint(1, max(2, 8 * runs // jumps))):
                    break
                proxy.ahead = trial.random.choice([-1, 1]) * trial.random.uniform(1, 12) * 3600
                count.tried += 1
                trial.delete_one_pod()
            proxy.ahead = 0.0
            return trial.settle(count)
