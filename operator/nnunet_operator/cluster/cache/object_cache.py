"""What the operator knows of the cluster: the newest version of each object it watches, in memory.

It is the `Objects` that Views are built from. Watches, the start gate, re-lists and our own writes put into it; whichever
comes late loses against the newer resourceVersion.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from ...controller.object_client import key_of
from ...manifests import names, ownership
from ...reconcile.kinds.invalid import parse
from ...reconcile.references.dependencies import needed_by, owner_of, wanted_by
from ...reconcile.view import Key, Manifest
from ..api.kinds import OURS
from .deleted_children import DeletedChildren
from .known import Known, State, labels_of, state_of
from .packed import PackedManifests
from .trim import trimmed
from .versions import is_newer, version_of

CHILDREN = ("Job", "Pod")


class ObjectCache:
    """Objects by key, by owner, and who refers to whom."""

    def __init__(self) -> None:
        self._objects = PackedManifests()
        self._known: dict[str, dict[Key, Known]] = defaultdict(dict)  # by kind
        self._owned: dict[tuple[str, str], set[Key]] = defaultdict(set)  # (owner's uid, kind) → children
        self._uids: dict[Key, set[str]] = defaultdict(set)  # owner, by labels → its uids of which there are children
        self._needs: dict[Key, tuple[Key, ...]] = {}
        self._needed_by: dict[Key, set[Key]] = defaultdict(set)
        self._deleted: dict[str, None] = {}  # uids, newest last: what we deleted must not come back by a late event
        self._deleted_pods, self._deleted_jobs = DeletedChildren(), DeletedChildren()
        self._states: Counter[State] = Counter()
        self._changed_pods: dict[Key, None] = {}

    def __len__(self) -> int:
        return len(self._objects)

    # -- reading: the Objects of `reconcile.view_builder` --

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """The newest known version, or None. It is not to be changed."""
        return self._objects.get(Key(kind, namespace, name))

    def owned(self, uid: str, kind: str) -> list[Manifest]:
        """The children of a kind of the object with this uid, by name."""
        return [self._objects[key] for key in sorted(self._owned.get((uid, kind), ()))]

    def of_namesakes(self, kind: str, namespace: str, name: str, uid: str) -> list[Manifest]:
        """Jobs and pods that are labelled as of another object of this kind and name."""
        others = self._uids.get(Key(kind, namespace, name), set()) - {uid}
        found = [child for other in sorted(others) for child_kind in CHILDREN for child in self.owned(other, child_kind)]
        return [child for child in found if owner_of(child) == (kind, namespace, name)]

    def dependents(self, key: Key) -> list[Manifest]:
        """The objects of our kinds that refer to an object, or want it for a child."""
        return [self._objects[other] for other in sorted(self._needed_by.get(key, ())) if other in self._objects]

    def deleted_pods(self, job: str) -> list[Manifest]:
        """The last state of the deleted pods of the Job with this uid, while that Job is there."""
        return self._deleted_pods.of(job)

    def deleted_jobs(self, uid: str) -> list[Manifest]:
        """The last state of the Jobs of the object with this uid that another has deleted."""
        return self._deleted_jobs.of(uid)

    def take_changed_pods(self) -> list[Key]:
        """The pods that have come, changed or gone since the last call."""
        changed, self._changed_pods = list(self._changed_pods), {}
        return changed

    def keys(self, *kinds: str) -> Iterator[Key]:
        """The keys of all objects of these kinds."""
        return (key for kind in kinds for key in list(self._known.get(kind, ())))

    def all(self, kind: str) -> Iterator[Manifest]:
        """All objects of a kind."""
        return (self._objects[key] for key in self.keys(kind) if key in self._objects)

    def known(self, kind: str) -> dict[Key, Known]:
        """What is told of all objects of a kind without unpacking them."""
        return dict(self._known.get(kind, {}))

    def version(self, key: Key) -> str | None:
        """The resourceVersion of what is known of an object, or None when there is none."""
        known = self._known.get(key.kind, {}).get(key)
        return known.version if known is not None else None

    def states(self) -> Mapping[State, int]:
        """How many objects of our kinds stand so."""
        return self._states

    def affected_by(self, manifest: Manifest) -> set[Key]:
        """Whom a change of this object concerns: itself, its owner, who refers to it or wants its name for a child."""
        return self._affected(key_of(manifest), owner_of(manifest))

    def concerned_by(self, key: Key) -> set[Key]:
        """The same of an object as it is known, or of one that is gone: whoever refers to it."""
        known = self._known.get(key.kind, {}).get(key)
        return self._affected(key, known.owner if known is not None else None)

    def made_by(self, key: Key) -> list[Key]:
        """The objects of our kinds that an object has made: a PlanTransfer's Plans."""
        known = self._known.get(key.kind, {}).get(key)
        return [made for kind in OURS for made in self._owned.get((known.uid, kind), ())] if known is not None else []

    def _affected(self, key: Key, owner: Key | None) -> set[Key]:
        concerned = set(self._needed_by.get(key, ()))
        if key.kind in OURS:
            concerned.add(key)
        if owner and not (key.kind == "Pod" and self._is_settled(owner)):
            concerned.add(owner)
        return {k for k in concerned if k in self._objects}

    def _is_settled(self, key: Key) -> bool:
        known = self._known.get(key.kind, {}).get(key)
        return known is not None and known.settled

    # -- writing --

    def change(self, manifest: Manifest) -> set[Key]:
        """Keep an object unless what is known is as new; whom it concerns: nobody when nothing has changed that anybody reads."""
        key = key_of(manifest)
        # Whom the old version concerned is concerned as well: a reference or a label may be gone.
        old = self._known.get(key.kind, {}).get(key)
        before = self._affected(key, old.owner) if old is not None else set()
        seen = self._objects[key] if old is not None and key.kind not in OURS else None
        if not self.put(manifest) or (seen is not None and _is_same(seen, self._objects[key])):
            return set()
        return before | self.affected_by(manifest)

    def put(self, manifest: Manifest) -> bool:
        """Keep an object unless what is known is as new; whether it was news."""
        key, meta = key_of(manifest), manifest["metadata"]
        old = self._known.get(key.kind, {}).get(key)
        if meta.get("uid") in self._deleted:
            return False
        if old is not None and not is_newer(version_of(manifest), old.version):
            return False
        uid, generation = str(meta.get("uid", "")), meta.get("generation")
        labels = labels_of(manifest)
        state = state_of(key, manifest) if key.kind in OURS else None
        known = Known(uid, version_of(manifest), generation, owner_of(manifest), labels.get(names.OWNER_UID, ""), state)
        # What an object refers to stands in its spec, and that is the same as long as the generation is.
        same_spec = old is not None and generation is not None and (old.uid, old.generation) == (uid, generation)
        if old is not None:
            self._unlink(key, old, needs=not same_spec)
        at_work = state.at_work if state is not None else self._is_of_one_at_work(known)
        self._objects.put(key, trimmed(manifest), at_work=at_work)
        if key.kind == "Pod":
            self._changed_pods[key] = None
        self._known[key.kind][key] = known
        if known.owner_uid:
            self._owned[known.owner_uid, key.kind].add(key)
            if known.owner:
                self._uids[known.owner].add(known.owner_uid)
        if state is not None:
            self._states[state] += 1
            for child in (child for kind in CHILDREN for child in self._owned.get((uid, kind), ())):
                self._objects.move(child, at_work=at_work)
        if key.kind in OURS and not same_spec:
            resource = parse(manifest)
            self._needs[key] = (*needed_by(resource), *wanted_by(resource))
            for other in self._needs[key]:
                self._needed_by[other].add(key)
        return True

    def settle(self, key: Key) -> None:
        """Until its next version, what happens to its Jobs' pods does not concern an object."""
        if (known := self._known.get(key.kind, {}).get(key)) is not None:
            self._known[key.kind][key] = known._replace(settled=True)

    def remove(self, manifest: Manifest) -> bool:
        """Forget an object (this very one: a namesake with another uid stays); whether it was known."""
        key = key_of(manifest)
        known = self._known.get(key.kind, {}).get(key)
        if known is None or known.uid != manifest["metadata"].get("uid", ""):
            return False
        self._unlink(key, known)
        del self._objects[key], self._known[key.kind][key]
        if key.kind == "Job":
            self._deleted_pods.forget(known.uid)
        elif key.kind in OURS:
            self._deleted_jobs.forget(known.uid)
        elif key.kind == "Pod":
            self._changed_pods[key] = None
        return True

    def remember_deleted(self, manifest: Manifest, *, by_us: bool = False) -> bool:
        """Forget an object that is surely gone, and do not believe late events that it lives; whether it was known.

        The last state of a pod is kept, and that of a Job that another has deleted.
        """
        if manifest["kind"] == "Pod" and self._has_job(manifest):
            self._deleted_pods.keep(manifest)
        elif manifest["kind"] == "Job" and not by_us and self._has_owner(manifest):
            self._deleted_jobs.keep(manifest)
        self._deleted[manifest["metadata"]["uid"]] = None
        if len(self._deleted) > 10_000:
            del self._deleted[next(iter(self._deleted))]
        return self.remove(manifest)

    def _has_job(self, pod: Manifest) -> bool:
        """Whether a Job that is known controls a pod: in its namespace, not merely by the uid."""
        found = ownership.controlling_job(pod)
        job = self.get("Job", pod["metadata"]["namespace"], found[0]) if found is not None else None
        return job is not None and ownership.is_controlled_by(pod, job)

    def _has_owner(self, job: Manifest) -> bool:
        """Whether an object controls a Job that was not known to be gone."""
        key = owner_of(job)
        owner = self._objects.get(key) if key is not None else None
        return owner is not None and ownership.is_controlled_by(job, owner) and job["metadata"]["uid"] not in self._deleted

    def _is_of_one_at_work(self, child: Known) -> bool:
        """Whether a child's owner is at work; also where that is not known yet."""
        owner = self._known.get(child.owner.kind, {}).get(child.owner) if child.owner else None
        return owner is None or owner.uid != child.owner_uid or owner.state is None or owner.state.at_work

    def _unlink(self, key: Key, known: Known, *, needs: bool = True) -> None:
        if known.state is not None:
            self._states[known.state] -= 1
            if not self._states[known.state]:
                del self._states[known.state]
        if uid := known.owner_uid:
            self._owned[uid, key.kind].discard(key)
            if not self._owned[uid, key.kind]:
                del self._owned[uid, key.kind]
                owner = known.owner
                if owner and not any((uid, kind) in self._owned for kind in CHILDREN):
                    self._uids[owner].discard(uid)
                    if not self._uids[owner]:
                        del self._uids[owner]
        for other in self._needs.pop(key, ()) if needs else ():
            self._needed_by[other].discard(key)
            if not self._needed_by[other]:
                del self._needed_by[other]


def _is_same(one: Manifest, other: Manifest) -> bool:
    """Whether two versions of an object say the same."""
    ours, theirs = ({**manifest["metadata"], "resourceVersion": ""} for manifest in (one, other))
    return ours == theirs and {**one, "metadata": None} == {**other, "metadata": None}
