"""A trainer's shape without its work: reads its order, says its progress, saves on SIGTERM, writes the report.

Beside the store's artifacts lie the wishes of a test: `hold` (training waits as long as it is there), `stubborn` (it ignores
SIGTERM), `fail-STEP` (an exit code).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from nnunet_trainer.contract import pod
from nnunet_trainer.contract import report as reports
from nnunet_trainer.contract.json_text import codec
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.contract.report import Error, Report
from support.pretend import succeed

EPOCHS = 4


def main() -> int:
    order = json.loads(Path(sys.argv[2]).read_text())
    wishes = Path(order["storage"]["uri"].removeprefix("file://")).parent
    print(f"{order['step']} begins", flush=True)
    if (wishes / f"fail-{order['step']}").exists():
        code = int((wishes / f"fail-{order['step']}").read_text())
        error = Error(
            code=code, reason="InvalidCases", message="2 of 12 cases: the label holds the value 7", hint="Repair the files."
        )
        pod.termination_log().write_text(reports.encode(Report(step=order["step"], error=error)))
        return code
    if order["step"] == "train":
        train(order, wishes)
    ending = succeed(order, {})
    pod.termination_log().write_text(ending.message)
    return ending.code


def train(order: dict, wishes: Path) -> None:
    state = wishes / f"checkpoint-{order['run']}"
    epoch = int(state.read_text()) if state.exists() else 0
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if (wishes / "stubborn").exists() else lambda *_: stopped.set())
    (wishes / f"started-{order['run']}-{order.get('attempt', 0)}").write_text(f"{os.getpid()} {epoch}")
    now = {"epoch": epoch}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            progress = Progress(step="train", phase="training", epoch=now["epoch"], epochs=EPOCHS, ema_pseudo_dice=0.5)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(codec.dumps(progress).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer((pod.progress_address(), pod.PROGRESS_PORT), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while now["epoch"] < EPOCHS:
        if stopped.is_set():
            state.write_text(str(now["epoch"]))
            error = Error(code=143, reason="Stopped", message=f"stopped at epoch {now['epoch']} with a checkpoint")
            said = Report(step="train", error=error, summary={"epoch": now["epoch"]})
            pod.termination_log().write_text(reports.encode(said))
            sys.exit(143)
        if now["epoch"] < 2 or not (wishes / "hold").exists():
            now["epoch"] += 1
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
