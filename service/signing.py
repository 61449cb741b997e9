"""Addresses of stored bytes that work without an API key, for a while.

SDKs fetch an attachment with a bare GET, so the address itself has to prove that it was given out here.
"""

import hmac
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import urlencode

LIFETIME_S: Final = 3600


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs and checks addresses with the instance's key."""

    key: bytes

    def query(self, content_hash: bytes, *, media_type: str, name: str, now_s: float | None = None) -> str:
        """The query string that lets anyone fetch a content under this type and name until it expires."""
        expires = int((time.time() if now_s is None else now_s) + LIFETIME_S)
        signature = self._signature(content_hash, media_type, name, expires)
        return urlencode({"type": media_type, "name": name, "expires": expires, "signature": signature})

    def is_valid(
        self,
        content_hash: bytes,
        *,
        media_type: str,
        name: str,
        expires: int,
        signature: str,
        now_s: float | None = None,
    ) -> bool:
        """Whether the address was given out here, unchanged, and has not expired."""
        if expires < (time.time() if now_s is None else now_s):
            return False
        expected = self._signature(content_hash, media_type, name, expires)
        return hmac.compare_digest(expected.encode(), signature.encode())

    def _signature(self, content_hash: bytes, media_type: str, name: str, expires: int) -> str:
        signed = "\0".join((content_hash.hex(), media_type, name, str(expires)))
        return hmac.new(self.key, signed.encode("utf-8", "replace"), sha256).hexdigest()
