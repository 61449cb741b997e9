"""JSON as clients really send it: split without parsing, read leniently, written strictly.

Clients send NaN, lone surrogates, invalid UTF-8, control characters, integers of any size, and now and then
no JSON at all. The log keeps those bytes; what is in here makes the best of them when they are read. Usual
JSON never leaves the fast parsers (msgspec, orjson).
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
import orjson

_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(rb"[ \t\n\r]*")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# To the next byte that decides where a value ends; inside brackets commas decide nothing.
_TO_END_OF_VALUE = re.compile(rb'(?:[^"\[\]{},]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_CLOSER_OF = {ord("{"): ord("}"), ord("["): ord("]")}

# A whole pair of escapes, an escape without its other half, or a byte that is not UTF-8 (decoded by
# surrogateescape). Any other escape is matched too, so that the second backslash of `\\ud800` starts nothing.
_SURROGATES = re.compile(
    r"\\u[Dd][89ABab][0-9A-Fa-f]{2}\\u[Dd][C-Fc-f][0-9A-Fa-f]{2}"
    r"|(\\u[Dd][89A-Fa-f][0-9A-Fa-f]{2})|([\ud800-\udfff])|\\.",
    re.DOTALL,
)
_HAS_SURROGATE = re.compile(r"\\u[Dd][89A-Fa-f]|[\ud800-\udfff]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_STRING_OR_NOT_FINITE = re.compile(r'"(?:[^"\\]++|\\.)*+"|(-?Infinity|NaN)')
_DIGITS_OF_A_DOUBLE = 308

_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array_decoder = msgspec.json.Decoder(list[msgspec.Raw])
REFUSALS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for JSON that is odd, or is not of the type that it should be."""


class NotJSON(ValueError):
    """Bytes that are not the JSON they should be.

    position is the offset of the byte where something else was expected; expected says what, as a noun
    phrase.
    """

    def __init__(self, expected: str, position: int) -> None:
        super().__init__(f"expected {expected} at byte {position}")
        self.expected = expected
        self.position = position


def split_object(raw: bytes) -> dict[str, bytes]:
    """The members of a JSON object: each value as its bytes, without the white space around it.

    The last of several members of one name counts. A value is not checked beyond its brackets and strings, so
    that one bad member never costs the others: it may be anything, even empty. Names are read as loads reads
    them, or are their text when it refuses them. Raises NotJSON when raw is no object, a name is no string,
    or brackets or strings do not balance.
    """
    try:
        members = _object_decoder.decode(raw)
        return dict(zip(members, map(bytes, members.values()), strict=True))
    except REFUSALS:
        return _scan_object(raw)


def split_array(raw: bytes) -> list[bytes]:
    """The elements of a JSON array, each as its bytes, with the same tolerance as split_object.

    Raises NotJSON when raw is no array, or brackets or strings do not balance.
    """
    try:
        return list(map(bytes, _array_decoder.decode(raw)))
    except REFUSALS:
        return _scan_array(raw)


def loads(raw: bytes) -> Any:
    """The value for readers, made of dict, list, str, int, finite float, bool and None.

    Every str encodes to UTF-8. NaN, Infinity and floats beyond a double become None. Lone surrogates and
    bytes that are not UTF-8 become U+FFFD. Control characters may stand in strings. Integers keep all their
    digits; one too long for the interpreter to convert (sys.get_int_max_str_digits) is a str of them. Raises
    NotJSON when raw is no JSON, or nested too deep for the interpreter's stack.
    """
    try:
        return msgspec.json.decode(raw)
    except REFUSALS:
        return _loads_leniently(raw, _int_or_digits)


def clean(raw: bytes) -> bytes:
    """Strict JSON of the same value, which orjson reads and which can be embedded in an answer.

    It is raw itself when that is strict already, so digits stay as sent. Otherwise it is rewritten as loads
    reads it, integers beyond a double as str; what loads refuses becomes a string of its text.
    """
    if _is_strict(raw):
        return raw
    try:
        rewritten = dumps(_loads_leniently(raw, _int_within_double))
    except (NotJSON, RecursionError):
        rewritten = b""
    # Parsers differ in how deep they read, so the last word is the strict one's.
    return rewritten if _is_strict(rewritten) else orjson.dumps(raw.decode(errors="replace"))


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8 of a value such as loads returns.

    Integers keep all their digits. NaN and infinities become null, lone surrogates U+FFFD. Raises TypeError
    for a value that has no JSON, RecursionError when it is nested too deep for the interpreter's stack.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        # Besides what has no JSON, orjson refuses large integers, surrogates, and more than 254 levels.
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = _LONE_SURROGATE.sub("\ufffd", text)
    if "NaN" in text or "Infinity" in text:
        text = _STRING_OR_NOT_FINITE.sub(lambda match: "null" if match[1] else match[0], text)
    return text.encode()


def quoted(raw: bytes) -> bytes:
    r"""A JSON string, in ASCII, that holds any bytes: unquoted gives them back.

    It reads as the text of raw; a byte that is not UTF-8 is an escape from \udc80 to \udcff
    (surrogateescape).
    """
    return json.dumps(raw.decode(errors="surrogateescape")).encode()


def unquoted(text: bytes) -> bytes:
    """The bytes that quoted was given. Raises NotJSON for what quoted cannot have made."""
    try:
        return str.encode(json.loads(text), errors="surrogateescape")
    except (ValueError, TypeError, RecursionError):
        raise NotJSON("a quoted string", 0) from None


def _is_strict(raw: bytes) -> bool:
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return True


def _scan_object(raw: bytes) -> dict[str, bytes]:
    members = {}
    position = _opened(raw, b"{", "an object")
    while raw[position : position + 1] != b"}":
        string = _STRING.match(raw, position)
        if string is None:
            raise NotJSON("a member's name or the end of the object", position)
        name = _name(string[0])
        position = _after_space(raw, string.end())
        if raw[position : position + 1] != b":":
            raise NotJSON("a colon", position)
        start = _after_space(raw, position + 1)
        end = _end_of_value(raw, start)
        members[name] = raw[start:end].rstrip(b" \t\n\r")
        position = _next_item(raw, end, b"}")
    _expect_end(raw, position + 1)
    return members


def _scan_array(raw: bytes) -> list[bytes]:
    elements = []
    position = _opened(raw, b"[", "an array")
    while raw[position : position + 1] != b"]":
        end = _end_of_value(raw, position)
        elements.append(raw[position:end].rstrip(b" \t\n\r"))
        position = _next_item(raw, end, b"]")
    _expect_end(raw, position + 1)
    return elements


def _opened(raw: bytes, opener: bytes, expected: str) -> int:
    """Where the first item, or the closing bracket, starts."""
    position = _after_space(raw, len(_BOM) if raw.startswith(_BOM) else 0)
    if raw[position : position + 1] != opener:
        raise NotJSON(expected, position)
    return _after_space(raw, position + 1)


def _next_item(raw: bytes, end: int, closer: bytes) -> int:
    """Where the next item, or the closing bracket, starts, given the comma or bracket that ended a value."""
    found = raw[end : end + 1]
    if found == b",":
        return _after_space(raw, end + 1)
    if found == closer:
        return end
    raise NotJSON(f"a comma or {closer.decode()}", end)


def _expect_end(raw: bytes, position: int) -> None:
    position = _after_space(raw, position)
    if position != len(raw):
        raise NotJSON("the end", position)


def _end_of_value(raw: bytes, position: int) -> int:
    """Where the comma or the bracket stands that ends the value which starts at position."""
    open_brackets = bytearray()
    while True:
        match = (_TO_BRACKET if open_brackets else _TO_END_OF_VALUE).match(raw, position)
        position = match.end() if match else position
        if position == len(raw):
            raise NotJSON("a closing bracket", position)
        found = raw[position]
        if found in _CLOSER_OF:
            open_brackets.append(_CLOSER_OF[found])
        elif found == ord('"'):
            raise NotJSON("a string that ends", position)
        elif not open_brackets:
            return position
        elif found != open_brackets.pop():
            raise NotJSON("the bracket that closes the last one opened", position)
        position += 1


def _after_space(raw: bytes, position: int) -> int:
    match = _SPACE.match(raw, position)
    return match.end() if match else position


def _name(string: bytes) -> str:
    try:
        return str(loads(string))
    except NotJSON:
        return string[1:-1].decode(errors="replace")


def _loads_leniently(raw: bytes, parse_int: Callable[[str], int | str]) -> Any:
    start = len(_BOM) if raw.startswith(_BOM) else 0
    # One character for each bad byte, and replacements as long as what they replace, keep positions true.
    text = raw[start:].decode(errors="surrogateescape")
    readable = _SURROGATES.sub(_without_lone_surrogate, text) if _HAS_SURROGATE.search(text) else text
    try:
        return json.loads(
            readable,
            strict=False,
            parse_int=parse_int,
            parse_float=_finite_or_none,
            parse_constant=lambda _: None,
        )
    except json.JSONDecodeError as error:
        position = start + len(text[: error.pos].encode(errors="surrogateescape"))
        raise NotJSON(_expected_instead(error.msg), position) from None
    except RecursionError:
        raise NotJSON("fewer levels of nesting", 0) from None


def _without_lone_surrogate(match: re.Match[str]) -> str:
    if match[1]:
        return "\\ufffd"
    return "\ufffd" if match[2] else match[0]


def _finite_or_none(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _int_or_digits(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return digits


def _int_within_double(digits: str) -> int | str:
    return int(digits) if len(digits) <= _DIGITS_OF_A_DOUBLE else digits


def _expected_instead(message: str) -> str:
    """What the standard library's complaint says it expected, as a noun phrase."""
    if message.startswith("Expecting "):
        return message.removeprefix("Expecting ").replace("value", "a value")
    if message.startswith("Extra data"):
        return "the end"
    if message.startswith("Unterminated string"):
        return "a string that ends"
    return "a valid escape" if "escape" in message else "JSON"
