"""What `why` answers: steps from an object down to what it waits for, and what to do about it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from .. import remedies
from ..terminal import Cell, Terminal


@dataclass(frozen=True, slots=True)
class Step:
    """One step down: who (`pod/finetune-…`), how it stands, and what that means (a key of `terminal.COLOURS`)."""

    depth: int
    subject: str
    says: str
    meaning: str = ""


@dataclass(slots=True)
class Explanation:
    """The steps, the reasons that were met on the way down, and what to do beyond what those reasons say."""

    steps: list[Step] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    then: str = ""
    """What to do after that."""

    def step(self, depth: int, subject: str, says: str, meaning: str = "") -> None:
        """Go a step down, or to the next of the same depth."""
        self.steps.append(Step(depth, subject, " ".join(says.split()), meaning))

    def met(self, reason: str) -> None:
        """A condition's, or a piece of work's, reason: the last of which it is known what to do counts."""
        if reason:
            self.reasons.append(reason)

    def advise(self, text: str) -> None:
        """Something particular to do."""
        if text not in self.advice:
            self.advice.append(text)

    def what_to_do(self) -> list[str]:
        """Lines for people; empty where nothing is to be done."""
        after = [self.then] if self.then else []
        if self.advice:
            return [*self.advice, *after]
        known = [reason for reason in self.reasons if remedies.of(reason) is not None]
        return [*(f"{reason}: {advice}" for reason in known[-1:] if (advice := remedies.advice(reason))), *after]


def text(explanation: Explanation, terminal: Terminal) -> str:
    """The steps as a tree, long lines folded, and what to do below them."""
    lines: list[str] = []
    steps = explanation.steps
    for number, step in enumerate(steps):
        lines += _folded(step, _before(steps, number, terminal), terminal)
    todo = explanation.what_to_do()
    if todo:
        lines += ["", "What to do:", *(line for text in todo for line in _hanging(text, "  ", "  ", terminal))]
    elif steps[0].meaning != "good":
        lines += ["", "Nothing to do: it goes on by itself."]
    return "\n".join(lines)


def _before(steps: Sequence[Step], number: int, terminal: Terminal) -> tuple[str, str]:
    """What stands before a step's first line, and before its other lines."""
    depth = steps[number].depth
    if depth == 0:
        return "", "   "
    lead = "".join(terminal.branches(last=not _goes_on(steps, number, level))[1] for level in range(1, depth))
    goes_on = _goes_on(steps, number, depth)
    branch, below = terminal.branches(last=not goes_on)
    return lead + branch, lead + below


def _goes_on(steps: Sequence[Step], number: int, level: int) -> bool:
    """Whether another step of this depth follows within the same parent."""
    for step in steps[number + 1 :]:
        if step.depth <= level:
            return step.depth == level
    return False


def _folded(step: Step, before: tuple[str, str], terminal: Terminal) -> list[str]:
    first, rest = before
    head = f"{step.subject}: " if step.says else step.subject
    lines = _hanging(head + step.says, first, rest, terminal)
    if step.meaning and lines[0].startswith(first + step.subject):
        lines[0] = first + terminal.painted(Cell(step.subject, step.meaning)) + lines[0][len(first + step.subject) :]
    return lines


def _hanging(text: str, first: str, rest: str, terminal: Terminal) -> list[str]:
    if terminal.width is None:
        return [first + text]
    room = max(40, terminal.width)
    folded = textwrap.wrap(text, room, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False)
    return folded or [first]
