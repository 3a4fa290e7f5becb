"""The pieces of work that an object consists of, as its status has them: a reading, a planning, configurations, folds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..api.common import State
from ..manifests import names
from ..reconcile.view import Manifest
from .printer_columns import lookup


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One piece of work.

    Attributes:
        title: in sentences: `fold 0`, `preprocessing 3d_fullres`.
        status: its `WorkStatus`, as in the API.
        labels: what its Jobs and Pods are labelled with, beside their owner.
        done, total, unit: how far it is; a total of 0 where that is not known.
    """

    title: str
    status: Manifest
    labels: dict[str, str] = field(default_factory=dict)
    done: int = 0
    total: int = 0
    unit: str = ""

    @property
    def state(self) -> str:
        """As `api.common.State`, or a newer version's."""
        return str(self.status.get("state") or State.PENDING)

    @property
    def share(self) -> float | None:
        """How much of it is done, 0 to 1; None where that is not known."""
        if self.state == State.SUCCEEDED:
            return 1.0
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def attempt(self) -> int | None:
        """The newest attempt's number as people count, from 1; None before the first."""
        number = self.status.get("attempt")
        return number + 1 if isinstance(number, int) else None

    def only_waits(self, reason: str) -> bool:
        """Whether it has not begun, and waits for nothing else than its object does (the reason of Ready)."""
        why = self.status.get("reason")
        return self.state == State.PENDING and not self.status.get("job") and (not why or why == reason)

    def owns(self, child: Manifest) -> bool:
        """Whether a Job or a Pod of the object belongs to this piece of work, by its labels."""
        return self.labels.items() <= (child["metadata"].get("labels") or {}).items()


def of(manifest: Manifest) -> list[Part]:
    """All pieces of work of an object, in the order in which they are done. A PlanTransfer's are its Plans'."""
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    found: list[Part] = []
    match manifest["kind"]:
        case "Dataset":
            found += _single(status, f"reading {spec.get('name', 'the data')}", "dataset")
        case "Plans":
            transfer = bool(spec.get("transferFrom"))
            found += _single(status, "the transfer" if transfer else "planning", "transfer" if transfer else "plan")
            asked = lookup(manifest, ".spec.preprocessing.configurations")
            found += [_configuration(row) for row in _rows(status, "configurations") if _is_wanted(row, asked)]
        case "TrainingRun":
            rows = {str(row["name"]): row for row in _rows(status, "folds")}
            asked = spec.get("folds")
            wanted = [str(fold) for fold in asked] if isinstance(asked, list) else list(rows)
            found += [_fold(name, rows.get(name, {"name": name})) for name in wanted]
    if deletion := status.get("deletion"):
        found.append(Part(title="the deletion of its results", status=deletion, labels={names.STEP: "delete_results"}))
    return found


def _single(status: Manifest, title: str, step: str) -> list[Part]:
    return [Part(title=title, status=status["work"], labels={names.STEP: step})] if status.get("work") else []


def _is_wanted(row: Manifest, asked: Any) -> bool:
    return row.get("state") != State.PLANNED and (not isinstance(asked, list) or row["name"] in asked)


def _configuration(row: Manifest) -> Part:
    labels = {names.STEP: "preprocess", names.CONFIGURATION: str(row["name"])}
    done, total = _count(row.get("casesDone")), _count(row.get("casesTotal"))
    return Part(title=f"preprocessing {row['name']}", status=row, labels=labels, done=done, total=total, unit="cases")


def _fold(name: str, row: Manifest) -> Part:
    labels = {names.STEP: "train", names.FOLD: name}
    done, total = _count(row.get("epoch")), _count(row.get("epochs"))
    return Part(title=f"fold {name}", status=row, labels=labels, done=done, total=total, unit="epoch")


def _rows(status: Manifest, name: str) -> list[Manifest]:
    rows: Any = status.get(name)
    return [row for row in rows if isinstance(row, dict) and "name" in row] if isinstance(rows, list) else []


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
