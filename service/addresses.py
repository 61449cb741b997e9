"""The addresses that answers give out."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

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


def _addresses_of(request: Request) -> Addresses:
    return Addresses(str(request.base_url).rstrip("/"), request.app.state.signer)


async def addresses(request: Request) -> Addresses:
    """The dependency that gives a request's `Addresses`."""
    return _addresses_of(request)


@dataclass(frozen=True, slots=True)
class Site:
    """Where answers are given: the addresses on this server, and the tenant that paths name."""

    addresses: Addresses
    tenant_id: bytes


async def site(request: Request) -> Site:
    """The dependency that gives a request's `Site`."""
    return Site(_addresses_of(request), request.app.state.instance.tenant_id)


AddressesPart = Annotated[Addresses, Depends(addresses)]
SitePart = Annotated[Site, Depends(site)]
