"""The words that people hold in place of ids which readers of the log can see.

A token is a permutation of an id under the instance's key: only the server can tell one from the other, and needs to
store nothing for it. SDKs expect both to be UUIDs.
"""

import hmac
from hashlib import sha256
from typing import Final

# Four rounds of Feistel's construction over a pseudorandom function make a pseudorandom permutation.
_ROUNDS: Final = 4
_HALF_BYTES: Final = 8


def token_of(key: bytes, id_: bytes) -> bytes:
    """The token of an id, 16 bytes as well."""
    left, right = id_[:_HALF_BYTES], id_[_HALF_BYTES:]
    for number in range(_ROUNDS):
        left, right = right, _mixed(left, _digest(key, number, right))
    return left + right


def id_of(key: bytes, token: bytes) -> bytes:
    """The id of a token. Any other word gives an id that nobody gave out."""
    left, right = token[:_HALF_BYTES], token[_HALF_BYTES:]
    for number in reversed(range(_ROUNDS)):
        left, right = _mixed(right, _digest(key, number, left)), left
    return left + right


def _digest(key: bytes, number: int, half: bytes) -> bytes:
    return hmac.new(key, b"feedback token %d " % number + half, sha256).digest()[:_HALF_BYTES]


def _mixed(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
