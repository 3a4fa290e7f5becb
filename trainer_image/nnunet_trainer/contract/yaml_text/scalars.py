"""What a scalar means: the rules of go.yaml.in/yaml/v2 (`resolve.go`), which sigs.k8s.io/yaml reads with."""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from datetime import date
from decimal import Decimal
from typing import Any

TAG = "tag:yaml.org,2002:"
MERGE = "<<"

_WORDS: dict[str, tuple[str, Any]] = {
    **{word: ("bool", True) for text in ("y", "yes", "true", "on") for word in {text, text.title(), text.upper()}},
    **{word: ("bool", False) for text in ("n", "no", "false", "off") for word in {text, text.title(), text.upper()}},
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), ("null", None)),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), ("float", math.nan)),
    **{sign + word: ("float", math.inf) for sign in ("", "+") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), ("float", -math.inf)),
    MERGE: ("merge", MERGE),
}
_INTEGER = re.compile(r"([-+]?)(?:0[bB]([01]+)|0[oO]([0-7]+)|0[xX]([0-9a-fA-F]+)|0([0-7]*)|([1-9][0-9]*))", re.ASCII)
_BASES = (2, 8, 16, 8, 10)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_POINTED = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?", re.ASCII)
_SIGNED_BINARY = re.compile(r"0b([-+][01]+)", re.ASCII)
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)"
    r"(?:(?: |(?P<t>[Tt]))(\d\d?):(\d\d?):(\d\d?)(?:[.,]\d+)?(?P<zone>Z|[-+]\d\d:\d\d)?)?",
    re.ASCII,
)  # fmt: skip
_TYPED = frozenset({"str", "bool", "int", "float", "null", "timestamp"})


class Unreadable(ValueError):
    """A scalar that its tag forbids, or that JSON cannot hold."""


def resolved(text: str, tag: str, plain: bool) -> Any:
    """The value of a scalar: None, a bool, an int, a float or a str. Dates are text.

    Args:
        text: its characters.
        tag: its tag in its long form; "" without one.
        plain: whether it stands without quotes.

    Raises:
        Unreadable: the tag asks for what the text is not.
    """
    kind = tag.removeprefix(TAG) if tag.startswith(TAG) else tag
    if kind == "" and not plain:
        return text
    if kind == "binary":
        try:
            return base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError) as error:
            raise Unreadable(f"{text!r} is not base64, as its tag !!binary says.") from error
    if kind != "" and not (tag.startswith(TAG) and kind in _TYPED):
        return text
    found: str
    value: Any
    found, value = ("str", text) if kind == "str" else implicit(text)
    if kind == "timestamp" and found == "str" and _is_timestamp(text):
        return text
    if kind in ("", found, "str"):
        return value
    if kind == "float" and found == "int" and value < 2**63:
        return float(value)
    raise Unreadable(f"{text!r} is not what its tag !!{kind} says.")


def implicit(text: str) -> tuple[str, Any]:
    """Kind (str, bool, int, float, null or merge) and value of a plain scalar without a tag."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first == ".":
        if _POINTED.fullmatch(text) and math.isfinite(value := float(text)):
            return "float", value
    elif first in "+-0123456789":
        digits = text.replace("_", "")
        if (number := _integer(digits)) is not None:
            return "int", number
        if _FLOAT.fullmatch(digits) and math.isfinite(value := float(digits)):
            return "float", value
        if binary := _SIGNED_BINARY.fullmatch(digits):
            number = int(binary[1], 2)
            if -(2**63) <= number < 2**63:
                return "int", number
    return "str", text


def _integer(digits: str) -> int | None:
    """A number of 64 bits; one without a sign may use all of them."""
    match = _INTEGER.fullmatch(digits)
    if match is None:
        return None
    sign, *parts = match.groups()
    part, base = next((part, base) for part, base in zip(parts, _BASES, strict=True) if part is not None)
    number = int(part or "0", base) * (-1 if sign == "-" else 1)
    return number if -(2**63) <= number < (2**63 if sign else 2**64) else None


def _is_timestamp(text: str) -> bool:
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return False
    year, month, day = (int(match[i]) for i in (1, 2, 3))
    hour, minute, second = (int(match[i] or 0) for i in (5, 6, 7))
    try:
        date(year or 4, month, day)  # year 0 is a leap year there, and none here
    except ValueError:
        return False
    return hour < 24 and minute < 60 and second < 60 and (match["t"] is None) == (match["zone"] is None)


def json_number(value: float) -> int | float:
    """A float as it comes back from JSON: Go writes whole numbers below 1e21 without a point, and they are read as integers.

    Raises:
        Unreadable: infinite or not a number.
    """
    if not math.isfinite(value):
        raise Unreadable("JSON, and so a manifest, holds finite numbers only.")
    # Its shortest digits, filled up with zeros: 2.0**64 is 18446744073709552000 there.
    return int(Decimal(repr(value))) if value.is_integer() and abs(value) < 1e21 else value


def key(value: Any) -> str:
    """A mapping's key as a string: JSON knows no other.

    Raises:
        Unreadable: null, or an integer beyond 64 bits with a sign.
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() if value < 2**63:
            return str(value)
        case float():
            return _short_float(value)
    raise Unreadable(f"{'null' if value is None else value} cannot be a key.")


def _short_float(value: float) -> str:
    """As Go's `FormatFloat(value, 'g', -1, 32)`: the shortest digits that tell floats of 32 bits apart."""
    single = _float32(value)
    if not math.isfinite(single):
        return ".nan" if math.isnan(single) else ".inf" if single > 0 else "-.inf"
    text = next(text for digits in range(9) if _float32(float(text := f"{single:.{digits}e}")) == single)
    mantissa, exponent = text.split("e")
    power = int(exponent)
    if power < -4 or power >= 6:
        return text
    decimals = len(mantissa.lstrip("-").replace(".", "")) - 1 - power
    return f"{float(text):.{max(decimals, 0)}f}"


def _float32(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
