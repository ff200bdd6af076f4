"""JSON with exact numbers, no duplicate keys, and nothing that a database or a phone would choke on.

RFC 8259 leaves these cases open and parsers differ, so we reject them: NaN and Infinity, duplicate keys, lone
surrogates, NUL, nesting deeper than 100. Integers and decimals keep every digit (`19.90` stays `19.90`), up to 1,000.
"""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from libs.errors import BadRequest

_MAX_DEPTH = 100
_MAX_DIGITS = 1_000  # longer literals are attacks on arithmetic, not prices
_MAX_EXPONENT = 400

_encoder = msgspec.json.Encoder(decimal_format="number")
_UNSURE = object()
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (_MAX_DIGITS + 1))


def loads(raw: bytes | str) -> Any:
    """Parse a JSON text (UTF-8, a BOM is ignored). Raises BadRequest saying what is wrong and where."""
    if isinstance(raw, bytes) and (value := _plain(raw)) is not _UNSURE:
        return value
    text = _decoded(raw) if isinstance(raw, bytes) else raw
    if _too_deep(text):
        raise BadRequest(f"The JSON is nested deeper than {_MAX_DEPTH} levels; flatten it.")
    try:
        value = _parser.decode(text)
    except json.JSONDecodeError as error:
        raise BadRequest(
            f"Not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            line=error.lineno,
            column=error.colno,
        ) from error
    except RecursionError as error:
        raise BadRequest("The JSON is nested too deeply; flatten it.") from error
    # json.loads lets "\ud800" and "\u0000" through; only an escape can produce them, so most texts skip the walk
    if "\\u" in text:
        refuse_unstorable(value)
    return value


def dumps(value: Any) -> bytes:
    """Return compact JSON bytes; Decimals as numbers, UUIDs and times as strings."""
    return _encoder.encode(value)


def _plain(raw: bytes) -> Any:
    """Parse plain JSON four times as fast; anything unusual is left to the strict parser.

    Without a backslash no string contains a quote, so `":` always ends a key: an object that lost a duplicate key
    has fewer of them when it is written again."""
    if b"\\" in raw or b" :" in raw or b"\t:" in raw or b"\n:" in raw or b"\r:" in raw:
        return _UNSURE
    if raw.count(b"[") + raw.count(b"{") > _MAX_DEPTH:
        return _UNSURE
    if len(raw) > _MAX_DIGITS and _LONG_NUMBER.search(raw):
        return _UNSURE
    try:
        value = _quick.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, BadRequest):
        return _UNSURE
    return value if _encoder.encode(value).count(b'":') == raw.count(b'":') else _UNSURE


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"Not UTF-8: byte {error.start} cannot be read. Send JSON in UTF-8.") from error


def _too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return False
    depth = 0
    quoted = escaped = False
    for character in text:
        if quoted:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            if depth > _MAX_DEPTH:
                return True
        elif character in "]}":
            depth -= 1
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadRequest(f"The key {key!r} occurs twice in one object; send it once.")
            seen.add(key)
    return made


def _decimal(literal: str) -> Decimal:
    if len(literal) > _MAX_DIGITS:
        raise BadRequest(f"A number has more than {_MAX_DIGITS} digits; send it as a string.")
    try:
        value = Decimal(literal)
    except InvalidOperation as error:
        raise BadRequest(f"The number {literal[:40]} is out of range; send it as a string.") from error
    # jsonb returns 1e400 with all its zeros: whatever is accepted once must be readable in that form, too
    if abs(value.adjusted()) > _MAX_EXPONENT or len(f"{value:f}") > _MAX_DIGITS:
        raise BadRequest(f"The number {literal[:40]} is out of range; send it as a string.")
    return value


def _integer(literal: str) -> int:
    if len(literal) > _MAX_DIGITS:
        raise BadRequest(f"A number has more than {_MAX_DIGITS} digits; send it as a string.")
    return int(literal)


def _constant(name: str) -> Any:
    raise BadRequest(f"{name} is not JSON (RFC 8259); leave the field out or send null.")


def refuse_unstorable(value: Any, pointer: str = "") -> None:
    """Raise BadRequest, with the pointer, for a text that no database stores: one with U+0000 or half a surrogate
    pair."""
    match value:
        case str():
            _check_text(value, pointer)
        case dict():
            for key, item in value.items():
                _check_text(key, pointer)
                refuse_unstorable(item, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
        case list():
            for index, item in enumerate(value):
                refuse_unstorable(item, f"{pointer}/{index}")


def _check_text(text: str, pointer: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(
            "The text holds half of a surrogate pair, which is not a character; send both halves.",
            pointer=pointer.encode("utf-8", "replace").decode(),
        ) from error
    if "\0" in text:
        raise BadRequest("The text contains the character U+0000, which cannot be stored; remove it.", pointer=pointer)


_parser = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_decimal, parse_int=_integer, parse_constant=_constant
)
_quick = msgspec.json.Decoder(float_hook=_decimal)
