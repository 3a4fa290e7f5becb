"""`-d` of the commands, and that it and paths are not mixed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from nnunet_trainer.contract.faults import BadUsage

from .folders import DatasetFolders


def add_option(parser: argparse.ArgumentParser, in_place_of: str) -> None:
    """Declare `-d`; `in_place_of` are the paths that it stands for, as a person reads them."""
    parser.add_argument(
        "-d",
        "--dataset",
        metavar="ID",
        help=f"in the place of {in_place_of}: a dataset's id or name, in the folders that nnU-Net's environment variables "
        "(nnUNet_raw, nnUNet_preprocessed, nnUNet_results) name",
    )


def chosen(
    arguments: argparse.Namespace,
    *,
    needs: Sequence[str],
    paths: Mapping[str, str],
    optional: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
) -> DatasetFolders | None:
    """The dataset of `-d`; None where paths are given.

    Args:
        arguments: the command's.
        needs: the environment variables that `-d` needs here.
        paths: by argument, how it is written: what is needed without `-d`, and excluded with it.
        optional: the same for paths that can be left out.
        names: arguments that are of use with `-d` alone.

    Raises:
        BadUsage: both are given, or parts of each; `DatasetFolders.of`.
    """

    def given(options: Mapping[str, str]) -> list[str]:
        return [written for name, written in options.items() if getattr(arguments, name) is not None]

    if arguments.dataset is not None:
        if mixed := given({**paths, **(optional or {})}):
            raise BadUsage(
                "InvalidArgument",
                f"-d {arguments.dataset} and {', '.join(mixed)} exclude each other: -d finds {_these(mixed)} in nnU-Net's folders.",
                hint=f"Leave out either -d or {', '.join(mixed)}.",
            )
        return DatasetFolders.of(arguments.dataset, needs)
    missing = [written for name, written in paths.items() if getattr(arguments, name) is None]
    if named := given(names or {}):
        raise BadUsage(
            "InvalidArgument",
            f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} of use with -d ID alone.",
            hint=f"Say -d ID, or leave {_these(named)} out and name {', '.join(paths.values())}.",
        )
    if missing:
        raise BadUsage(
            "MissingArgument",
            f"{arguments.command} needs {', '.join(missing)}.",
            hint="Or -d ID, a dataset in the folders of nnU-Net's environment variables, in the place of all paths.",
        )
    return None


def _these(options: Sequence[str]) -> str:
    return "it" if len(options) == 1 else "them"
