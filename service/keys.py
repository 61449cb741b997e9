"""API keys: what each may do, and how one that a client presents is recognised."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

_ID_HEX_DIGITS = 8


class Scope(StrEnum):
    """What a key may do."""

    INGEST = "ingest"
    READ = "read"
    ADMIN = "admin"
    METRICS = "metrics"


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One entry of API_KEYS. Neither its text form nor its id gives the key away."""

    key: str = field(repr=False)
    scopes: frozenset[Scope] = ALL_SCOPES

    @property
    def digest(self) -> bytes:
        return sha256(self.key.encode()).digest()

    @property
    def id(self) -> str:
        """The name of this key in logs and receipts: the first 8 hex digits of its SHA-256."""
        return self.digest.hex()[:_ID_HEX_DIGITS]


def parse_api_key(entry: str) -> ApiKey:
    """The key of `key` (every right) or `key:scope+scope`.

    Raises ValueError, whose sentence never repeats the entry: what looks like a scope may be half a key.
    """
    key, colon, names = entry.strip().rpartition(":")
    if not colon:
        key, names = names, "+".join(Scope)
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("a key is one or more visible ASCII characters")
    unknown = [name for name in names.split("+") if name not in set(Scope)]
    if unknown:
        raise ValueError(f"after the last colon of a key come its scopes, of {', '.join(Scope)}, joined by +")
    return ApiKey(key, frozenset(Scope(name) for name in names.split("+")))


class Keyring:
    """The keys that are known here."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys = [(key.digest, key) for key in keys]

    def find(self, presented: str) -> ApiKey | None:
        """The known key that equals what a client presented.

        Takes as long for a wrong key as for a right one: every known key is compared, by digest, to the end.
        """
        digest = sha256(presented.encode()).digest()
        found = None
        for known, key in self._keys:
            if hmac.compare_digest(known, digest):
                found = key
        return found
