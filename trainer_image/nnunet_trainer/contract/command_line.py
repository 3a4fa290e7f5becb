"""The frame of both command lines: sub-commands that are imported only when they are called, and faults as one message."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import sys
from collections.abc import Mapping
from importlib import metadata

from . import uri
from .faults import ExitCode, Fault

MACHINE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP),
)
"""What a full disk, a forbidden folder, a folder where a file belongs, a path that nothing can have says: nobody's bug."""


def tell(fault: Fault) -> int:
    """Print a person's mistake; answers the exit code."""
    print(f"{fault.reason}: {fault}", file=sys.stderr)
    return int(fault.exit_code)


def counted(number: int, what: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """`0m45s`, `12m05s`, `5h12m`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}h{minutes % 60:02d}m" if minutes >= 60 else f"{minutes}m{rest:02d}s"


def run(program: str, description: str, commands: Mapping[str, tuple[str, str]], package: str, argv: list[str] | None) -> int:
    """Run one command; a person's mistake ends in one message and the contract's exit code.

    Args:
        program: its name, as people call it.
        description: what it is for.
        commands: by name, a module with `add_arguments(parser)` and `run(arguments) -> int`, and its summary.
        package: what the modules' names are relative to.
        argv: the arguments; None: the process's own.
    """
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may be what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--version", action="version", version=f"{program} {metadata.version('nnunet-operator')}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, (module, summary) in commands.items():
        command = subparsers.add_parser(name, help=summary, description=summary)
        if name == chosen:
            loaded = importlib.import_module(f".{module}", package)
            loaded.add_arguments(command)
            command.set_defaults(run=loaded.run)
    odd = [word for word in (*argv, os.getcwd()) if not uri.is_utf8(word)]
    if odd:
        print(f"InvalidArguments: {uri.printable(odd[0])} is not UTF-8. Rename the file or folder.", file=sys.stderr)
        return int(ExitCode.BAD_USAGE)
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as end:
        # argparse exits with 2 for a wrong argument; the contract says 64.
        return int(ExitCode.BAD_USAGE) if end.code == 2 else int(end.code or 0)
    try:
        return int(arguments.run(arguments))
    except Fault as fault:
        return tell(fault)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in MACHINE:
            raise
        print(f"{error.strerror}: {error.filename or 'no file named'}", file=sys.stderr)
        return int(ExitCode.IO_ERROR)
