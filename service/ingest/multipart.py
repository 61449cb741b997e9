"""Splitting multipart/form-data on bytes.

SDKs send hundreds of small parts in a body, which a parser that calls back for every header byte makes the
most expensive step of ingesting. The body is in memory already, so here a part costs one search and one
match.
"""

import re
from dataclasses import dataclass

import msgspec

# The headers that SDKs write, to the letter; any others take the long way. Python says how long the data is in the
# second group, JS in the first.
_USUAL_HEADERS = re.compile(
    rb'Content-Disposition: form-data; name="([^"\\\r\n]*+)"\r\n'
    rb"Content-Type: (application/json|[^;\s]++)(?:; length=(\d{1,18}+))?+\r\n"
    rb"(?:Content-Length: (\d{1,18}+)\r\n)?+\r\n"
)
_HEADERS_BYTES_MAX = 16 * 1024

_JSON_TYPE = "application/json"
_JSON_TYPE_BYTES = _JSON_TYPE.encode()
_CRLF = b"\r\n"
# The rest of a line that is a boundary: whether it is the closing one, and how the line ends.
_BOUNDARY_LINE = re.compile(rb"(--)?[ \t]*(\r?\n|\Z)")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LINE_BREAK = re.compile(rb"\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_PARAMETER = re.compile(r';\s*([!#$%&\'*+.^_`|~\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))', re.ASCII | re.DOTALL)
_ESCAPE = re.compile(r"\\([\"\\])")
_LENGTH_PARAMETER = re.compile(r';\s*length\s*=\s*"?\d*"?\s*(?=;|\Z)', re.ASCII | re.IGNORECASE)


class MalformedMultipart(Exception):
    """A request that calls itself multipart and does not say where its parts begin."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """One part of a multipart body.

    name is "" when the part has none that can be read. content_type is as sent, without the `length`
    parameter that SDKs put there; None when not sent. (No frozen dataclass: making one takes several times as long.)
    """

    name: str
    content_type: str | None
    filename: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Multipart:
    """The complete parts of a body, in order.

    truncated is None for a body that ends as it should. Otherwise it is what follows the last complete part:
    the headers and the data, as far as they came, of the part that was cut; the whole body when no part
    begins in it.
    """

    parts: list[Part]
    truncated: bytes | None


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type header names.

    Raises MalformedMultipart when the type is not multipart or has no boundary.
    """
    media_type = content_type.partition(";")[0].strip()
    if not media_type.lower().startswith("multipart/"):
        raise MalformedMultipart(f"the content type is {media_type!r}, not multipart/form-data")
    try:
        boundary = _parameters(content_type).get("boundary", "").encode("latin-1")
    except UnicodeEncodeError:
        boundary = b""
    if not boundary:
        raise MalformedMultipart("the content type names no boundary")
    return boundary


def split(body: bytes, boundary: bytes) -> Multipart:
    """The parts of a body. What stands before the first boundary and after the closing one is not looked at.

    Lines end as the first boundary's does, with CR LF or with LF alone. A boundary that has no line of its
    own is data.
    """
    parts: list[Part] = []
    line = _first_boundary_line(body, b"--" + boundary)
    if line is None:
        return Multipart(parts, body)
    line_break = line[2] or _CRLF
    delimiter = line_break + b"--" + boundary
    usual_end = delimiter + _CRLF
    closing, start = line[1], line.end()
    while not closing:
        usual = _USUAL_HEADERS.match(body, start)
        end = -1
        if usual is not None:
            name, content_type, length, content_length = usual.groups()
            begin = usual.end()
            end = begin + int(length or content_length or 0)
        following = end + len(usual_end)
        if end < 0 or not body.startswith(usual_end, end):  # Without a true length the data has to be searched.
            # The line break before a boundary belongs to it: before that of an empty part it ends the last
            # boundary's line.
            end, line = _next_boundary_line(body, delimiter, start - len(line_break))
            if line is None:
                return Multipart(parts, body[start:])
            closing, following = line[1], line.end()
        if usual is not None:
            media_type = _JSON_TYPE if content_type == _JSON_TYPE_BYTES else content_type.decode("utf-8", "replace")
            parts.append(Part(name.decode("utf-8", "replace"), media_type, None, body[begin:end]))
        else:
            parts.append(_unusual_part(body[start:end]))
        start = following
    return Multipart(parts, None)


def _first_boundary_line(body: bytes, dashed: bytes) -> re.Match[bytes] | None:
    """The rest of the first line that is a boundary."""
    position = body.find(dashed)
    while position >= 0:
        rest = _BOUNDARY_LINE.match(body, position + len(dashed))
        if rest is not None and (position == 0 or body[position - 1] == ord("\n")):
            return rest
        position = body.find(dashed, position + 1)
    return None


def _next_boundary_line(body: bytes, delimiter: bytes, start: int) -> tuple[int, re.Match[bytes] | None]:
    """Where the data before the next boundary from `start` on ends, and the rest of that boundary's line."""
    end = body.find(delimiter, start)
    while end >= 0:
        rest = _BOUNDARY_LINE.match(body, end + len(delimiter))
        if rest is not None:
            return end, rest
        end = body.find(delimiter, end + 1)
    return end, None


def _unusual_part(segment: bytes) -> Part:
    head, data = _head_and_data(segment)
    headers = _headers(head)
    disposition = _parameters(headers.get("content-disposition", ""))
    content_type = _LENGTH_PARAMETER.sub("", headers.get("content-type", "")).strip()
    return Part(disposition.get("name", ""), content_type or None, disposition.get("filename"), data)


def _head_and_data(segment: bytes) -> tuple[bytes, bytes]:
    """The headers, and what follows the blank line after them; all is data where there is no such line."""
    no_headers = _LINE_BREAK.match(segment)
    if no_headers is not None:
        return b"", segment[no_headers.end() :]
    blank_line = _BLANK_LINE.search(segment, 0, _HEADERS_BYTES_MAX)
    return (segment[: blank_line.start()], segment[blank_line.end() :]) if blank_line else (b"", segment)


def _headers(head: bytes) -> dict[str, str]:
    headers = {}
    for line in _FOLD.sub(b" ", head).decode(errors="replace").split("\n"):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _parameters(value: str) -> dict[str, str]:
    """The parameters of a header by their names in lower case; of two with one name the first counts."""
    parameters: dict[str, str] = {}
    for name, quoted, token in _PARAMETER.findall(value):
        parameters.setdefault(name.lower(), _ESCAPE.sub(r"\1", quoted) or token)
    return parameters
