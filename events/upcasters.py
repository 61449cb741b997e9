"""Old events, read as if they had been written today.

A stored body is never rewritten. When the shape of a kind changes, its number in `SCHEMA_VERSIONS` goes up by one and
an upcaster from the old number to the next is added here; reading applies them one after the other. An upcaster is
pure: the members of the old payload in, the members of the next version out.
"""

from collections.abc import Callable, Mapping
from typing import Final

from events.jsontext import dumps, split_object

Members = dict[str, bytes]
Upcaster = Callable[[Members], Members]

SCHEMA_VERSION_FIRST: Final = 1
# The kinds whose shape has changed since the first release, with their current number.
SCHEMA_VERSIONS: Final[Mapping[str, int]] = {}
UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}


def schema_version(kind: str, versions: Mapping[str, int] = SCHEMA_VERSIONS) -> int:
    """The schema version that an event of this kind is written with today."""
    return versions.get(kind, SCHEMA_VERSION_FIRST)


def upcast(
    kind: str,
    version: int,
    payload: bytes,
    *,
    versions: Mapping[str, int] = SCHEMA_VERSIONS,
    upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
) -> bytes:
    """Bring a payload of an old schema version to the current one. Raises `KeyError` when a step is missing."""
    if version >= schema_version(kind, versions):
        return payload
    members = split_object(payload)
    for step in range(version, schema_version(kind, versions)):
        members = upcasters[kind, step](members)
    return joined(members)


def joined(members: Members) -> bytes:
    """One JSON object of members that are raw JSON already."""
    return b"{" + b",".join(dumps(name) + b":" + value for name, value in members.items()) + b"}"
