"""Who calls, and whether they may."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase
from starlette.datastructures import Headers

from service.keys import ALL_SCOPES, Scope
from service.parts import keyring_of, settings_of


class Unauthenticated(Exception):
    """The request has no API key that is known here."""

    headers = {"WWW-Authenticate": 'Bearer realm="Agent Spy"'}  # noqa: RUF012 (never changed)


class Forbidden(Exception):
    """The caller is known, or need not be, and may not do this."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: the id of the API key (never the key), or None where none is asked for."""

    key_id: str | None
    scopes: frozenset[Scope]


_API_KEY = APIKey.model_validate(
    {
        "in": APIKeyIn.header,
        "name": "x-api-key",
        "description": "One of API_KEYS. The headers `api-key` and `Authorization: Bearer` do as well.",
    }
)

ANYONE = Caller(key_id=None, scopes=ALL_SCOPES)


class Authorise(SecurityBase):
    """A dependency that gives the Caller of a request, who has the scope.

    Raises Unauthenticated without a known key, Forbidden when the key lacks the scope. Without REQUIRE_AUTH
    everyone may do everything.
    """

    def __init__(self, scope: Scope) -> None:
        self.scheme_name = "ApiKey"
        self.model = _API_KEY
        self._scope = scope

    async def __call__(self, request: Request) -> Caller:
        if not settings_of(request).require_auth:
            return ANYONE
        caller = _caller(request)
        if self._scope not in caller.scopes:
            raise Forbidden(f"This API key may not do this: it lacks the scope {self._scope}.")
        return caller


@cache
def authorise(scope: Scope) -> Authorise:
    """The dependency for routes that ask for a scope: `Depends(authorise(Scope.READ))`."""
    return Authorise(scope)


Ingester = Annotated[Caller, Depends(authorise(Scope.INGEST))]
Reader = Annotated[Caller, Depends(authorise(Scope.READ))]
Administrator = Annotated[Caller, Depends(authorise(Scope.ADMIN))]


async def refuse_foreign_origin(request: Request) -> None:
    """A dependency for what erases or administers: without REQUIRE_AUTH, no other site's page may ask for it.

    A page's browser names it in `Origin`. Allowed are the host that the request itself was sent to, and what
    CORS_ORIGINS lists by name: its `*`, which is for reading, does not count. Raises Forbidden.
    """
    origin = request.headers.get("origin")
    if origin is None or settings_of(request).require_auth or origin in settings_of(request).cors_origins:
        return
    if urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise Forbidden(f"Pages of {origin} may not do this. To allow them, name them in CORS_ORIGINS.")


def _caller(request: Request) -> Caller:
    presented = _presented_keys(request.headers)
    found = [key for key in map(keyring_of(request).find, presented) if key is not None]
    if found:
        return Caller(found[0].id, found[0].scopes)
    if presented:
        raise Unauthenticated("This API key is not known here.")
    raise Unauthenticated("Send an API key in one of the headers x-api-key, api-key or Authorization: Bearer.")


def _presented_keys(headers: Headers) -> list[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return [key for key in (headers.get("x-api-key"), headers.get("api-key"), bearer) if key]
