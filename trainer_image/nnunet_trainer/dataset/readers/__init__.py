"""Image readers by nnU-Net's names, in the order in which nnU-Net tries them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.catalogue.shapes import OF_A_PLUGIN
from nnunet_trainer.contract.faults import BadConfiguration, BadData, unknown_name
from nnunet_trainer.extensions import Component, Registry

from .base import Companion, Header, Image, Reader
from .natural import NaturalImage2DIO
from .nifti import NibabelIO, NibabelIOWithReorient
from .sitk import SimpleITKIO, SimpleITKIOWithReorient
from .tiff import Tiff3DIO

__all__ = ["READERS", "Companion", "Header", "Image", "Reader", "by_file_ending", "by_name", "choose"]


class ReaderRegistry(Registry[Callable[[], Reader]]):
    """Classes, or functions `() -> Reader`, by the reader's name; the order of registration is that of trying them."""

    def _checked(self, component: Component[Callable[[], Reader]]) -> Component[Callable[[], Reader]]:
        made = component.make()
        if not isinstance(made, Reader) or made.name != component.name:
            raise BadConfiguration(
                "InvalidReader",
                f"The image reader {component.name} ({component.place}) is made as {made!r}.",
                hint="Derive it from nnunet_trainer.dataset.readers.Reader, with a `name` that is that of its registration.",
            )
        return component

    def all(self) -> Iterator[Reader]:
        """One of each."""
        return (_made(component.make) for component in self._components.values())


READERS = ReaderRegistry("image reader")

for _reader in (NaturalImage2DIO, SimpleITKIO, Tiff3DIO, NibabelIO, NibabelIOWithReorient, SimpleITKIOWithReorient):
    READERS.register(_reader.name)(_reader)


@cache
def _made(make: Callable[[], Reader]) -> Reader:
    return make()


def by_name(name: str) -> Reader:
    """The reader that plans or dataset.json name."""
    if name not in READERS:
        raise BadConfiguration("UnknownReader", unknown_name("image reader", name, READERS), hint=OF_A_PLUGIN)
    return _made(READERS[name].make)


def by_file_ending(ending: str) -> list[Reader]:
    """The readers that are tried for a file ending, in nnU-Net's order."""
    return [reader for reader in READERS.all() if ending.lower() in reader.file_endings and reader.automatic]


def choose(dataset_json: dict[str, Any], example: Path | None, *, any_ending: bool = False) -> Reader:
    """The reader of a dataset: the one that dataset.json names, else the first of its file ending that reads the example.

    Args:
        dataset_json: dataset.json's content.
        example: the first image of the dataset; None decides by the ending alone.
        any_ending: try all readers (nnU-Net does so when it moves plans).

    Raises:
        BadData: no reader reads the example.
    """
    override = dataset_json.get("overwrite_image_reader_writer", "None")
    if override in READERS:
        return by_name(override)
    fitting = by_file_ending(dataset_json["file_ending"])
    if any_ending and example is not None:
        fitting = [reader for reader in READERS.all() if reader.automatic]
    if example is None or not example.exists():
        if not fitting:
            raise BadData("InvalidDatasetJson", f"dataset.json: no reader reads the file ending {dataset_json['file_ending']!r}.")
        return fitting[0]
    reasons: list[tuple[str, str]] = []
    for reader in fitting:
        try:
            reader.probe(example)
            return reader
        except BadData as fault:
            reasons.append((reader.name, fault.message.rpartition(f"by {reader.name}: ")[2].removesuffix(".")))
    hint = "Repair or replace the file."
    if len({why for _, why in reasons}) == 1:
        raise BadData("InvalidCases", f"{example}: no reader can read it: {reasons[0][1]}.", hint=hint)
    raise BadData(
        "InvalidCases", f"{example}: no reader can read it.", findings=[f"{name}: {why}" for name, why in reasons], hint=hint
    )
