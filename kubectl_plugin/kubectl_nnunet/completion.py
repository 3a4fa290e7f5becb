"""`kubectl_complete-nnunet`: what may come next on a command line, in the form in which kubectl asks its plug-ins.

kubectl calls it with the words after `nnunet`, the last of which may be unfinished. It answers a line a candidate, last `:N`, one
of Cobra's directives (github.com/spf13/cobra, ShellCompDirective). Where something goes wrong, there is nothing to complete.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nnunet_trainer.contract.faults import Fault

from .cli import COMMANDS, PROGRAM

NO_FILES, FILES, FOLDERS = 4, 0, 16
"""Cobra's directives: complete nothing else; files; folders."""

PATIENCE = 3.0
"""Seconds that a cluster may take: somebody waits for the key that they pressed."""

RUNS_ALONE = ("plot", "fetch")
"""Commands of a TrainingRun, and of nothing else."""


class _Silent(argparse.ArgumentParser):
    """Words that are not finished yet are no mistake."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise ValueError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Print what may come next."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        candidates, directive = complete(words or [""])
    except (Fault, OSError, ValueError):
        candidates, directive = [], NO_FILES
    partial = words[-1] if words else ""
    for candidate in candidates:
        if candidate.startswith(partial):
            print(candidate)
    print(f":{directive}")
    return 0


def complete(words: Sequence[str]) -> tuple[list[str], int]:
    """What may stand in the place of the last word, which may be unfinished; and a directive."""
    *before, partial = words
    if not before:
        return [f"{name}\t{summary}" for name, (_, summary) in COMMANDS.items()], NO_FILES
    if before[0] not in COMMANDS:
        return [], NO_FILES
    parser = _Silent(prog=PROGRAM, add_help=False)
    importlib.import_module(f".{COMMANDS[before[0]][0]}", __package__).add_arguments(parser)
    options = {flag: action for action in parser._actions for flag in action.option_strings}
    if (action := options.get(before[-1])) is not None and action.nargs != 0:
        return _values(action, before, _positionals(before[1:-1], options))
    if partial.startswith("-"):
        return sorted(flag for flag in options if flag.startswith("--")), NO_FILES
    given = _positionals(before[1:], options)
    if before[0] == "completion":
        return ([] if given else ["bash", "zsh"]), NO_FILES
    if before[0] == "fetch" and given:
        return [], FOLDERS if len(given) == 1 else NO_FILES
    if before[0] == "plot" and given:
        return [], NO_FILES
    return sorted(set(_objects(before, ("TrainingRun",) if before[0] in RUNS_ALONE else None))), NO_FILES


def _positionals(words: Sequence[str], options: dict[str, argparse.Action]) -> list[str]:
    """The words that are neither flags nor their values."""
    found, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            action = options.get(word)
            skip = action is not None and action.nargs != 0
        else:
            found.append(word)
    return found


def _values(action: argparse.Action, before: Sequence[str], named: Sequence[str]) -> tuple[list[str], int]:
    """Values of an option, after these words, which name these objects."""
    if action.choices:
        return [str(choice) for choice in action.choices], NO_FILES
    match action.dest:
        case "context":
            from nnunet_operator.cluster.api.kubeconfig import contexts

            return contexts(_cluster_arguments(before).kubeconfig), NO_FILES
        case "namespace":
            return _namespaces(before), NO_FILES
        case "fold" | "configuration":
            return sorted(_parts(before, named, action.dest)), NO_FILES
        case "kubeconfig" | "output":
            return [], FILES
    return [], NO_FILES


def _cluster_arguments(before: Sequence[str]) -> argparse.Namespace:
    """Which cluster the words so far mean."""
    parser = _Silent(add_help=False)
    parser.add_argument("-n", "--namespace")
    parser.add_argument("--context")
    parser.add_argument("--kubeconfig", type=Path)
    words = before[:-1] if before[-1] in ("-n", "--namespace", "--context", "--kubeconfig") else before
    return parser.parse_known_args(list(words))[0]


def _objects(before: Sequence[str], kinds: Iterable[str] | None) -> Iterator[str]:
    """Names of objects: as KIND/NAME, and alone where a run bears them."""
    from nnunet_operator.api.resources import KINDS
    from nnunet_operator.inspection.object_names import short

    from . import connection

    arguments = _cluster_arguments(before)
    with connection.opened(arguments, PATIENCE) as cluster:
        for kind in kinds or KINDS:
            for manifest in cluster.all(kind, arguments.namespace):
                if kind == "TrainingRun":
                    yield str(manifest["metadata"]["name"])
                if kinds is None:
                    yield short(manifest)


def _namespaces(before: Sequence[str]) -> list[str]:
    from . import connection

    with connection.opened(_cluster_arguments(before), PATIENCE) as cluster:
        return cluster.namespaces()


def _parts(before: Sequence[str], named: Sequence[str], which: str) -> set[str]:
    """The folds, or configurations, of the object that is named."""
    from nnunet_operator.inspection import object_names, parts
    from nnunet_operator.manifests import names

    from . import connection

    label = names.FOLD if which == "fold" else names.CONFIGURATION
    arguments = _cluster_arguments(before)
    with connection.opened(arguments, PATIENCE) as cluster:
        manifest = object_names.one(named[:1], arguments.namespace, cluster)
    return {part.labels[label] for part in parts.of(manifest) if label in part.labels}


if __name__ == "__main__":
    sys.exit(main())
