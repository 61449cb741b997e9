"""The addresses that answers give out."""

from dataclasses import dataclass

from fastapi import Request

from service.paths import API_ROOT
from service.signing import Signer


@dataclass(frozen=True, slots=True)
class Addresses:
    """Absolute addresses on this server, as the client that asks sees it."""

    origin: str
    signer: Signer

    def of_content(self, content_hash: bytes, *, media_type: str, name: str) -> str:
        """Where stored bytes can be fetched without an API key, for a while."""
        query = self.signer.query(content_hash, media_type=media_type, name=name)
        return f"{self.origin}{API_ROOT}/contents/{content_hash.hex()}?{query}"


def addresses(request: Request) -> Addresses:
    """The dependency that gives a request's `Addresses`."""
    return Addresses(str(request.base_url).rstrip("/"), request.app.state.signer)
