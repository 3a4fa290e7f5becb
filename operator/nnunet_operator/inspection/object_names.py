"""What the words of a call name (kinds, objects), and how objects are named to people."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_trainer.contract.faults import BadUsage, unknown_name

from ..api.resources import GROUP, KINDS, kind_of
from ..manifests import ownership
from ..reconcile.view import Manifest
from .reader import Sources

HIDDEN = ("managedFields",)


def has_name(words: Sequence[str]) -> bool:
    """Whether the words name objects, and not a kind alone."""
    return len(words) > 1 or "/" in "".join(words)


def named(words: Sequence[str], namespace: str, objects: Sources) -> list[Manifest]:
    """The objects that words name: nothing (all), KIND, NAME, KIND NAME …, KIND/NAME …

    Raises:
        BadUsage: there is no such kind or object.
    """
    if not words or list(words) in (["all"], ["nnunet"]):
        return [manifest for kind in KINDS for manifest in objects.all(kind, namespace)]
    pairs = [tuple(word.split("/", 1)) for word in words if "/" in word]
    if not pairs and len(words) == 1:
        if words[0].lower() not in _kind_words() and (found := _by_name(words[0], namespace, objects, tuple(KINDS))):
            return found
        return objects.all(kind_of(words[0]), namespace)
    if not pairs:
        pairs = [(words[0], name) for name in words[1:]]
    return [_of_kind(kind_of(kind), name, namespace, objects) for kind, name in pairs]


def one(words: Sequence[str], namespace: str, objects: Sources, kinds: Sequence[str] = tuple(KINDS)) -> Manifest:
    """The one object that words name: KIND/NAME, KIND NAME, or NAME where it is clear which is meant.

    Args:
        kinds: which may be meant.

    Raises:
        BadUsage: there is no such object, or it is unclear which of several is meant.
    """
    kind, name = _split(words)
    if kind is not None:
        if kind not in kinds:
            raise BadUsage("WrongKind", f"{kind} {name} is a {kind}; this is for a {', a '.join(kinds)}.")
        return _of_kind(kind, name, namespace, objects)
    found = _by_name(name, namespace, objects, kinds)
    # A PlanTransfer makes a Plans of its own name: it is the transfer that people deal with.
    found = [each for each in found if not any(ownership.is_controlled_by(each, other) for other in found)]
    if not found:
        known = {each["metadata"]["name"] for each_kind in kinds for each in objects.all(each_kind, namespace)}
        what = kinds[0] if len(kinds) == 1 else "object"
        raise BadUsage("NotFound", f"Namespace {namespace}: {unknown_name(what, name, known)}")
    if len(found) > 1:
        several = " and ".join(short(each) for each in found)
        raise BadUsage("Ambiguous", f"There are {several}.", hint=f"Say which one, as in {short(found[0])}.")
    return found[0]


def grouped(words: Sequence[str]) -> list[list[str]]:
    """The words of several objects, each as `one` takes them: KIND NAME …, or NAME and KIND/NAME in any mixture."""
    if len(words) > 1 and words[0].lower().removesuffix(f".{GROUP}") in _kind_words() and "/" not in "".join(words):
        return [[words[0], name] for name in words[1:]]
    return [[word] for word in words]


def _split(words: Sequence[str]) -> tuple[str | None, str]:
    """The kind, where it is said, and the name."""
    if len(words) == 1:
        kind, slash, name = words[0].rpartition("/")
        return (kind_of(kind) if slash else None), name
    if len(words) == 2 and "/" not in "".join(words):
        return kind_of(words[0]), words[1]
    raise BadUsage("InvalidArguments", f"{' '.join(words)!r} names no object; KIND/NAME, KIND NAME or NAME was expected.")


def _of_kind(kind: str, name: str, namespace: str, objects: Sources) -> Manifest:
    manifest = objects.get(kind, namespace, name)
    if manifest is None:
        known = [item["metadata"]["name"] for item in objects.all(kind, namespace)]
        raise BadUsage("NotFound", unknown_name(kind, name, known))
    return manifest


def _by_name(name: str, namespace: str, objects: Sources, kinds: Sequence[str]) -> list[Manifest]:
    return [manifest for kind in kinds if (manifest := objects.get(kind, namespace, name))]


def _kind_words() -> set[str]:
    return {word for kind, model in KINDS.items() for word in (kind.lower(), model.plural, model.short_name)}


def label(manifest: Manifest) -> str:
    """An object as kubectl names it."""
    kind = manifest["kind"].lower()
    return (
        f"{kind}.{GROUP}/{manifest['metadata']['name']}" if manifest["kind"] in KINDS else f"{kind}/{manifest['metadata']['name']}"
    )


def short(manifest: Manifest) -> str:
    """An object as people type it: `trainingrun/finetune`."""
    return f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"


def public(manifest: Manifest) -> Manifest:
    """An object as it is shown: without the store's own notes."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in HIDDEN}
    return {**manifest, "metadata": metadata}
