"""The real kubectl."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ..controlplane import ROOT

BUILD = ROOT / "tests" / "kubectl" / "build.sh"


def kubectl(
    *arguments: str, kubeconfig: Path | None = None, check: bool = True, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run it, with its output as text.

    Raises:
        FileNotFoundError: it is not there; the message names the command that builds it.
        AssertionError: it ended with an error, and `check` is set.
    """
    program = Path(subprocess.run([str(BUILD), "--print"], check=True, capture_output=True, text=True).stdout.strip())
    if not program.exists():
        raise FileNotFoundError(f"{program} is not there. Build it once: {BUILD.relative_to(ROOT)}")
    environment = {**os.environ, **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})}
    done = subprocess.run([str(program), *arguments], env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done
