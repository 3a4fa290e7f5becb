"""The text of a file that a person wrote: UTF-8, with or without a byte order mark."""

from __future__ import annotations

import codecs
import re

from ..faults import BadConfiguration

REASON = "InvalidYAML"

_MARKS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "UTF-32 (little-endian)", "utf-32"),
    (codecs.BOM_UTF32_BE, "UTF-32 (big-endian)", "utf-32"),
    (codecs.BOM_UTF16_LE, "UTF-16 (little-endian)", "utf-16"),
    (codecs.BOM_UTF16_BE, "UTF-16 (big-endian)", "utf-16"),
)

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML 1.1 calls not printable (section 5.1)."""


def fault(where: str, line: int, column: int, what: str, hint: str = "") -> BadConfiguration:
    """The one shape of an error in a text; line and column count from 1."""
    return BadConfiguration(REASON, f"{where}, line {line}, column {column}: {what}", hint=hint)


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column of a character, both from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def decoded(content: bytes, where: str) -> str:
    """The text of a file's bytes, without a byte order mark.

    Args:
        content: the whole file.
        where: how messages call it.

    Raises:
        BadConfiguration: another encoding than UTF-8.
    """
    if found := _other_encoding(content):
        name, codec = found
        raise BadConfiguration(
            REASON,
            f"{where} is written in {name}; UTF-8 was expected.",
            hint=f"Save it as UTF-8: iconv -f {codec} -t utf-8 FILE > NEW",
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        line, column = position(before, len(before))
        raise fault(
            where,
            line,
            column,
            f"the byte 0x{content[error.start]:02x} is not UTF-8; the file seems to be in another encoding, "
            "such as Latin-1 or Windows-1252.",
            "Save it as UTF-8: iconv -f latin1 -t utf-8 FILE > NEW",
        ) from None
    return text.removeprefix("\ufeff")


def check_characters(text: str, where: str, first_line: int) -> None:
    """Refuse what YAML does not allow anywhere.

    Raises:
        BadConfiguration: the first control character, with its place.
    """
    if bad := _FORBIDDEN.search(text):
        line, column = position(text, bad.start())
        raise fault(where, first_line + line, column, f"the control character U+{ord(bad[0]):04X} is not allowed in YAML.")


def _other_encoding(content: bytes) -> tuple[str, str] | None:
    """Name and codec of an encoding with more than one byte a character, by its mark or by its zeros."""
    for mark, name, codec in _MARKS:
        if content.startswith(mark):
            return name, codec
    # YAML and JSON begin with an ASCII character: without a mark, the zeros of the first one tell (RFC 4627, section 3).
    zeros = tuple(byte == 0 for byte in content[:4])
    guesses = {
        (True, True, True, False): ("UTF-32 (big-endian)", "utf-32be"),
        (False, True, True, True): ("UTF-32 (little-endian)", "utf-32le"),
    }
    if zeros in guesses:
        return guesses[zeros]
    if len(content) % 2 == 0 and zeros[:2] == (True, False):
        return "UTF-16 (big-endian)", "utf-16be"
    if len(content) % 2 == 0 and zeros[:2] == (False, True):
        return "UTF-16 (little-endian)", "utf-16le"
    return None
