"""`nnunet-operator local …`: the same manifests and reconcilers as on a cluster, on this machine alone."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage, ExitCode, Fault, Temporary, unknown_name

from ..api.resources import GROUP, KINDS, kind_of
from . import columns, documents, results, standing
from .describe import describe, public
from .launch import quantity
from .live import Display, Quiet, display
from .scheduler import Machine
from .standing import Standing
from .store import Conflict, Store, log_folder

if TYPE_CHECKING:
    from .session import Session

Manifest = dict[str, Any]

USER = "local"
DEFAULT_STORE = "nnunet-store"
NEWLINE = "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and what each takes."""
    parser.epilog = "NNUNET_STORE names the store, NNUNET_TRAINER the nnunet-trainer of another Python environment."
    commands = parser.add_subparsers(dest="local_command", metavar="COMMAND", required=True)

    def add(name: str, run_: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("--store", metavar="DIR", help=f"where everything lies (default: $NNUNET_STORE or ./{DEFAULT_STORE})")
        command.add_argument("-n", "--namespace", default="default", help="namespace (default: default)")
        command.set_defaults(local_run=run_)
        return command

    apply = add("apply", _apply, "Apply manifests, and work until all is done.")
    apply.add_argument(
        "-f", "--filename", action="append", required=True, metavar="FILE|DIR", help="manifests; - is standard input"
    )
    apply.add_argument("--no-wait", action="store_true", help="only put the manifests into the store")
    run_ = add("run", _run, "Go on with what is in the store.")
    for command in (apply, run_):
        command.add_argument(
            "--watch", action="store_true", help="stay when all is done, and take up what is applied from elsewhere"
        )
        command.add_argument(
            "--secrets", metavar="DIR", type=Path, help="one folder a Secret, one file a key (default: your AWS credentials)"
        )
        command.add_argument("--volumes", metavar="DIR", type=Path, help="one folder a PersistentVolumeClaim, for pvc:// URIs")
        command.add_argument(
            "--map",
            metavar="URI=DIR",
            action="append",
            default=[],
            help="a folder that stands in for all URIs that begin so, as in s3://bucket/raw=images; kept with the store",
        )
        command.add_argument("--cpus", type=float, metavar="N", help="use so many cores (default: all)")
        command.add_argument("--memory", metavar="SIZE", help="use so much memory, such as 16Gi (default: all)")
        command.add_argument("--gpus", metavar="LIST", help="use these GPUs, such as 0,1; an empty list: none (default: all)")
    get = add("get", _get, "Show objects, as kubectl would.")
    get.add_argument(
        "what", nargs="*", metavar="KIND [NAME]", help="dataset, plans, plantransfer, trainingrun; KIND/NAME; nothing: all"
    )
    get.add_argument("-o", "--output", choices=("wide", "yaml", "json", "name"), help="another form")
    get.add_argument("-w", "--watch", action="store_true", help="look on until all is done")
    for name, run_function, summary in (
        ("describe", _describe, "Show one object in full, with its events."),
        ("logs", _logs, "Print what an object's work has written."),
        ("suspend", _suspend, "Stop a TrainingRun with a checkpoint."),
        ("resume", _resume, "Let a TrainingRun go on from its checkpoint."),
        ("delete", _delete, "Delete objects and stop their work; artifacts stay."),
    ):
        command = add(name, run_function, summary)
        many = "*" if name == "delete" else "+"
        command.add_argument("what", nargs=many, metavar="KIND NAME", help="KIND NAME or KIND/NAME")
        if name == "logs":
            command.add_argument("--fold", help="of this fold alone")
            command.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
            command.add_argument("--tail", type=int, metavar="N", help="only the last N lines")
        if name == "delete":
            command.add_argument("-f", "--filename", action="append", metavar="FILE|DIR", help="what these manifests name")


def run(arguments: argparse.Namespace) -> int:
    """Run one sub-command."""
    return int(arguments.local_run(arguments))


def _store(arguments: argparse.Namespace, *, make: bool = False) -> Store:
    root = Path(arguments.store or os.environ.get("NNUNET_STORE") or DEFAULT_STORE).expanduser()
    if not make and not (root / "store.json").exists():
        raise BadUsage(
            "NoStore", f"There is no store in {root.absolute()}.", hint="Name it by --store, or make one by `local apply -f`."
        )
    return Store(root)


def _again(arguments: argparse.Namespace) -> str:
    """The arguments that name this store in another call."""
    return f" --store {shlex.quote(arguments.store)}" if arguments.store else ""


def _session(arguments: argparse.Namespace, store: Store) -> Session:
    from . import places
    from .session import Session

    gpus = getattr(arguments, "gpus", None)
    memory = getattr(arguments, "memory", None)
    try:
        machine = Machine.here(
            cores=getattr(arguments, "cpus", None),
            memory=quantity(memory) if memory else None,
            gpus=None if gpus is None else [gpu for gpu in gpus.split(",") if gpu],
        )
    except ValueError as error:
        raise BadUsage("InvalidQuantity", f"--memory: {error}.", hint="Write it as in 16Gi.") from error
    for name in ("secrets", "volumes"):
        folder = getattr(arguments, name, None)
        if folder is not None and not folder.is_dir():
            raise BadUsage("NoSuchFile", f"--{name}: there is no folder {folder}.")
    claims = getattr(arguments, "volumes", None)
    secrets = getattr(arguments, "secrets", None)
    return Session(
        store,
        machine,
        secrets_folder=secrets and secrets.absolute(),
        claims=claims and claims.absolute(),
        mapped=[places.parse(text) for text in getattr(arguments, "map", [])],
    )


def _apply(arguments: argparse.Namespace) -> int:
    from ..api.validation import admit

    manifests = documents.read(arguments.filename, arguments.namespace)
    store = _store(arguments, make=True)
    _admit_all(manifests, store)
    for manifest in manifests:
        ours = manifest["kind"] in KINDS
        try:
            done, what = store.apply(manifest, USER, admit if ours else None)
        except Conflict as error:
            raise BadConfiguration("Immutable", str(error), hint="Give it another name.") from error
        print(f"{_label(done)} {what}", flush=True)
    if arguments.no_wait:
        return ExitCode.DONE
    keys = {(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]) for manifest in manifests}
    return _work(arguments, store, keys)


def _admit_all(manifests: list[Manifest], store: Store) -> None:
    """Refuse all when one is to be refused: half a pipeline helps nobody."""
    from ..api.validation import admit

    findings: list[str] = []
    for manifest in manifests:
        if manifest["kind"] not in KINDS:
            continue
        try:
            store.preview(manifest, USER, admit)
        except Fault as fault:
            findings += [f"{_label(manifest)}: {line}" for line in fault.findings or (fault.message,)]
    if findings:
        raise BadConfiguration("Invalid", "Nothing was applied:", findings=findings)


def _run(arguments: argparse.Namespace) -> int:
    return _work(arguments, _store(arguments), None)


def _work(arguments: argparse.Namespace, store: Store, keys: set[tuple[str, str, str]] | None) -> int:
    """Work until all is done; the exit code is that of the objects in `keys`, or of all."""
    session = _session(arguments, store)
    try:
        with store.working():
            print()
            return _carry_out(arguments, session, keys)
    except Temporary as busy:
        if keys is None:
            raise
        print(f"\n{busy}\nIt carries out what was applied.")
        return ExitCode.DONE


def _carry_out(arguments: argparse.Namespace, session: Session, keys: set[tuple[str, str, str]] | None) -> int:
    before = session.snapshot().objects
    if before and all(standing.of(manifest) is Standing.READY for manifest in before) and not arguments.watch:
        print(f"All of it is done already: {len(before)} objects are Ready.")
        shown: Display = Quiet()
    else:
        shown = display()
    try:
        whole = session.run(shown.show, note=shown.note, forever=arguments.watch)
    finally:
        shown.close()
    objects, again = session.snapshot().objects, _again(arguments)
    if not whole:
        left = [manifest for manifest in objects if standing.of(manifest) is Standing.GOING]
        print(f"\nStopped; {len(left)} of {len(objects)} objects are not done. What ran has saved its state.")
        print(f"Go on:\n  nnunet-operator local run{again}")
        return ExitCode.STOPPED
    print(f"\n{results.closing(objects, again)}")
    own = [m for m in objects if keys is None or (m["kind"], m["metadata"]["namespace"], m["metadata"]["name"]) in keys]
    stalled = [manifest for manifest in own if standing.of(manifest) is Standing.STALLED]
    # What failed of itself says more than what failed with it.
    roots = [manifest for manifest in stalled if standing.reason(manifest)[0] != "DependencyFailed"]
    if stalled:
        return standing.exit_code((roots or stalled)[0])
    waiting = [manifest for manifest in own if standing.of(manifest) is Standing.GOING]
    return ExitCode.BAD_CONFIGURATION if waiting else ExitCode.DONE


def _get(arguments: argparse.Namespace) -> int:
    store = _store(arguments)
    if arguments.watch:
        return _look_on(arguments, store)
    found = _named(arguments, store)
    mixed = not arguments.what
    if not found and arguments.output not in ("yaml", "json"):
        print(f"No resources found in {arguments.namespace} namespace.", file=sys.stderr)
        return ExitCode.DONE
    shown = [public(manifest) for manifest in found]
    one = len(shown) == 1 and _has_name(arguments.what)
    whole = shown[0] if one else {"apiVersion": "v1", "kind": "List", "items": shown}
    match arguments.output:
        case "yaml":
            print(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True), end="")
        case "json":
            print(json.dumps(whole, indent=2, ensure_ascii=False))
        case "name":
            print(NEWLINE.join(_label(manifest) for manifest in found))
        case other:
            print(columns.tables(found, wide=other == "wide", prefixed=mixed))
    return ExitCode.DONE


def _look_on(arguments: argparse.Namespace, store: Store) -> int:
    from .session import Session

    session = Session(store, Machine(cores=1, memory=1))
    shown, seen = display(), -1
    try:
        session.listener.start()
        while True:
            snapshot = session.snapshot()
            session.listener.listen_to({pod["metadata"]["name"]: ip for pod in snapshot.pods if (ip := pod["status"].get("podIP"))})
            news = store.revision() + session.listener.news
            if news != seen:
                seen = news
                shown.show(snapshot)
            if all(standing.of(manifest) is not Standing.GOING for manifest in snapshot.objects):
                return ExitCode.DONE
            time.sleep(0.3)
    finally:
        session.listener.stop()
        shown.close()


def _describe(arguments: argparse.Namespace) -> int:
    store = _store(arguments)
    print(f"\n\n{'─' * 40}\n".join(describe(manifest, store) for manifest in _named(arguments, store)))
    return ExitCode.DONE


def _logs(arguments: argparse.Namespace) -> int:
    store = _store(arguments)
    (manifest, *_) = _named(arguments, store)
    wanted = f"-f{arguments.fold}-" if arguments.fold else ""
    files = sorted(log_folder(store, manifest).glob("*.log"), key=lambda file: file.stat().st_mtime)
    files = [file for file in files if wanted in file.name]
    if not files:
        print(f"{_label(manifest)} has written nothing yet.", file=sys.stderr)
        return ExitCode.DONE
    for file in files:
        if len(files) > 1:
            print(f"==> {file.stem} <==")
        lines = file.read_text(errors="replace").splitlines(keepends=True)
        sys.stdout.writelines(lines[-arguments.tail :] if arguments.tail else lines)
    if arguments.follow:
        _follow(files[-1], manifest, store)
    return ExitCode.DONE


def _follow(file: Path, manifest: Manifest, store: Store) -> None:
    """Print what a log grows by, until no pod of the object runs any more."""
    with file.open(errors="replace") as stream:
        stream.seek(0, os.SEEK_END)
        while True:
            pods = store.owned(manifest["metadata"]["uid"], "Pod")
            alive = any(pod.get("status", {}).get("phase") == "Running" for pod in pods)
            if text := stream.read():
                print(text, end="", flush=True)
            elif not alive:
                return
            else:
                time.sleep(0.2)


def _suspend(arguments: argparse.Namespace) -> int:
    return _set_suspend(arguments, True)


def _resume(arguments: argparse.Namespace) -> int:
    return _set_suspend(arguments, False)


def _set_suspend(arguments: argparse.Namespace, value: bool) -> int:
    store = _store(arguments)
    runs = _named(arguments, store)
    if others := [manifest for manifest in runs if manifest["kind"] != "TrainingRun"]:
        raise BadUsage("NotSuspendable", f"{_label(others[0])} cannot be suspended: only a TrainingRun can.")
    for manifest in runs:
        meta = manifest["metadata"]
        before = bool(manifest["spec"].get("suspend"))
        store.edit("TrainingRun", meta["namespace"], meta["name"], lambda new: new["spec"].update(suspend=value))
        print(f"{_label(manifest)} {'unchanged' if before == value else 'suspended' if value else 'resumed'}", flush=True)
    if not value:
        _say_who_goes_on(arguments, store)
        return ExitCode.DONE

    def done() -> bool:
        return all(_stopped(store, manifest) for manifest in runs)

    return _settle(arguments, store, done)


def _stopped(store: Store, manifest: Manifest) -> bool:
    """Whether a reconciler has seen an object's newest spec, and nothing of it runs."""
    meta = manifest["metadata"]
    found = store.get(manifest["kind"], meta["namespace"], meta["name"])
    if found is None:
        return True
    seen = (found.get("status") or {}).get("observedGeneration") == found["metadata"]["generation"]
    pods = store.owned(meta["uid"], "Pod")
    return seen and all(pod["status"].get("phase") in ("Succeeded", "Failed") or not pod["spec"].get("nodeName") for pod in pods)


def _delete(arguments: argparse.Namespace) -> int:
    store = _store(arguments)
    if bool(arguments.what) == bool(arguments.filename):
        raise BadUsage("BadUsage", "Say what to delete: KIND NAME, or -f FILE.")
    if arguments.filename:
        named = documents.read(arguments.filename, arguments.namespace)
        found = [m for d in named if (m := store.get(d["kind"], d["metadata"]["namespace"], d["metadata"]["name"]))]
    else:
        if not _has_name(arguments.what):
            raise BadUsage(
                "BadUsage", f"Delete which {arguments.what[0]}?", hint=f"nnunet-operator local delete {arguments.what[0]} NAME"
            )
        found = _named(arguments, store)
    for manifest in found:
        meta = manifest["metadata"]
        store.delete(manifest["kind"], meta["namespace"], meta["name"], meta["uid"])
        print(f"{_label(manifest)} deleted", flush=True)
    gone = {manifest["metadata"]["uid"] for manifest in found}

    def done() -> bool:
        left = (item for kind in ("Job", "Pod") for item in store.all(kind))
        return not any(uid in json.dumps(item["metadata"]) for item in left for uid in gone)

    return _settle(arguments, store, done)


def _settle(arguments: argparse.Namespace, store: Store, done: Callable[[], bool]) -> int:
    """See to it that processes end: by the process that works on the store, or, when there is none, by this one."""
    from .session import Session

    try:
        with store.working():
            session = Session(store, Machine(cores=0, memory=0))
            session.node.starts = False
            session.run(lambda _: None, done=done)
    except Temporary:
        deadline = time.monotonic() + 600
        while not done() and time.monotonic() < deadline:
            time.sleep(0.1)
    return ExitCode.DONE


def _say_who_goes_on(arguments: argparse.Namespace, store: Store) -> None:
    try:
        with store.working():
            print(f"Nobody works on this store now. Go on:\n  nnunet-operator local run{_again(arguments)}")
    except Temporary:
        return


def _has_name(what: list[str]) -> bool:
    return len(what) > 1 or "/" in "".join(what)


def _named(arguments: argparse.Namespace, store: Store) -> list[Manifest]:
    """The objects that the words name: nothing (all), KIND, KIND NAME …, KIND/NAME …

    Raises:
        BadUsage: there is no such kind or object.
    """
    words, namespace = list(arguments.what), arguments.namespace
    if not words or words == ["all"] or words == ["nnunet"]:
        return [manifest for kind in KINDS for manifest in store.all(kind, namespace)]
    pairs = [tuple(word.split("/", 1)) for word in words if "/" in word]
    if not pairs and len(words) == 1:
        if words[0].lower() not in _kind_words() and (found := _by_name(words[0], namespace, store)):
            return found
        return store.all(kind_of(words[0]), namespace)
    if not pairs:
        pairs = [(words[0], name) for name in words[1:]]
    found = []
    for kind_word, name in pairs:
        kind = kind_of(kind_word)
        manifest = store.get(kind, namespace, name)
        if manifest is None:
            known = [item["metadata"]["name"] for item in store.all(kind, namespace)]
            raise BadUsage("NotFound", unknown_name(kind, name, known))
        found.append(manifest)
    return found


def _by_name(name: str, namespace: str, store: Store) -> list[Manifest]:
    return [manifest for kind in KINDS if (manifest := store.get(kind, namespace, name))]


def _kind_words() -> set[str]:
    return {word for kind, model in KINDS.items() for word in (kind.lower(), model.plural, model.short_name)}


def _label(manifest: Manifest) -> str:
    kind = manifest["kind"].lower()
    return (
        f"{kind}.{GROUP}/{manifest['metadata']['name']}" if manifest["kind"] in KINDS else f"{kind}/{manifest['metadata']['name']}"
    )
