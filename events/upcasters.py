"""Old events, read as if they had been written today.

A stored body is never rewritten. When the shape of a kind changes, an upcaster from its newest schema version to the
next is added at the end of its entry in `UPCASTERS`; reading applies them one after the other. An upcaster is pure: the
members of the old payload in, the members of the next version out.

A kind's schema version is one more than it has upcasters, so none can be missing in between.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from events.jsontext import dumps, split_object

Members = dict[str, bytes]
Upcaster = Callable[[Members], Members]
Upcasters = Mapping[str, Sequence[Upcaster]]

SCHEMA_VERSION_FIRST: Final = 1


def _attached_by_a_post(members: Members) -> Members:
    """Version 1 did not tell which write brought an attachment: of two with one name the later stayed."""
    return {**members, "operation": b'"post"'}


UPCASTERS: Final[Upcasters] = {"AttachmentStored": (_attached_by_a_post,)}
"""By kind: the upcaster from schema version 1 to 2, the one from 2 to 3, and so on."""


def schema_version(kind: str, upcasters: Upcasters = UPCASTERS) -> int:
    """The schema version that an event of this kind is written with today."""
    return SCHEMA_VERSION_FIRST + len(upcasters.get(kind, ()))


def upcast(kind: str, version: int, payload: bytes, upcasters: Upcasters = UPCASTERS) -> bytes:
    """Bring a payload of an old schema version to the current one; one of the current version comes back as it is.

    Raises `ValueError` for a version that the kind never had, such as that of a newer program.
    """
    current = schema_version(kind, upcasters)
    if version == current:
        return payload
    if not SCHEMA_VERSION_FIRST <= version <= current:
        raise ValueError(f"{kind} has schema versions {SCHEMA_VERSION_FIRST} to {current}, not {version}")
    members = split_object(payload)
    for upcaster in upcasters[kind][version - SCHEMA_VERSION_FIRST :]:
        members = upcaster(members)
    return joined(members)


def joined(members: Members) -> bytes:
    """One JSON object of members that are raw JSON already."""
    return b"{" + b",".join(dumps(name) + b":" + value for name, value in members.items()) + b"}"
