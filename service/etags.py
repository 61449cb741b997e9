"""Entity tags: whether a reader who asks again has the answer already.

A tag is made of what an answer is made of, before it is rendered: rows of the read models and the version of a run,
which names the events that its whole values come from; that of a tree, of the answer itself. So it is the same after a
rebuild that changes nothing, and in every process. Tags are weak: an answer may differ in when it was made, and in when
the addresses in it expire.
"""

import time
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import msgspec
from fastapi.responses import Response

from service.signing import LIFETIME_S

PERIOD_S: Final = LIFETIME_S // 2
"""How long an answer that holds addresses keeps its tag: those of a 304 are good for as long again, at least."""
_HASH_BYTES: Final = 16
_encode: Final = msgspec.msgpack.Encoder().encode


def etag(*parts: object) -> str:
    """The tag of an answer that is made of these parts and nothing else but the time.

    Parts are what msgspec can write: texts, bytes, integers of 64 bits, structs, dataclasses, and lists of these.
    """
    return f'W/"{blake2b(_encode(parts), digest_size=_HASH_BYTES).hexdigest()}"'


def period(now_s: float | None = None) -> int:
    """A part for answers that hold addresses which expire: it changes before the first of these does."""
    return int((time.time() if now_s is None else now_s) // PERIOD_S)


def is_held(tag: str, headers: Mapping[str, str]) -> bool:
    """Whether a request says that its sender has the answer of this tag (`If-None-Match`, RFC 9110 §13.1.2)."""
    asked = headers.get("if-none-match", "").strip()
    return asked == "*" or _opaque(tag) in map(_opaque, asked.split(","))


def headers_of(tag: str, **others: str) -> dict[str, str]:
    """The headers that go with an answer and its 304 alike: it may be kept, and is to be asked for every time."""
    return {"ETag": tag, "Cache-Control": "private, no-cache", **others}


def unchanged(tag: str, **others: str) -> Response:
    """The answer to someone who has it already."""
    return Response(status_code=304, headers=headers_of(tag, **others))


def _opaque(tag: str) -> str:
    """What is compared of a tag: a proxy that compresses may have made a strong one weak."""
    return tag.strip().removeprefix("W/")
