"""Stored bytes at signed addresses: attachments, and fields too large for the log."""

from typing import Annotated
from urllib.parse import quote

from fastapi import HTTPException, Query, Request, Response

from events.contents import read_content
from service.parts import EnginePart
from service.routes import LateRouter
from service.signing import Signer
from service.wire.errors import error_responses

router = LateRouter(prefix="/contents", tags=["contents"], responses=error_responses(403, 404, 504))


@router.get(
    "/{content_hash}",
    response_class=Response,
    responses={
        200: {
            "description": "The bytes, under the media type that they were sent with.",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}, "example": "a,b\n1,2\n"}
            },
        }
    },
)
async def read_stored(
    content_hash: str,
    request: Request,
    engine: EnginePart,
    type: Annotated[str, Query(description="The media type, as signed.")],
    name: Annotated[str, Query(description="The name, as signed.")],
    expires: Annotated[int, Query(description="When the address expires, in seconds since 1970.")],
    signature: Annotated[str, Query(description="Proves that this address was given out here.")],
) -> Response:
    """Stored bytes. The address itself proves that it was given out, so no API key is asked for."""
    signer: Signer = request.app.state.signer
    hash_ = _hash(content_hash)
    if not signer.is_valid(hash_, media_type=type, name=name, expires=expires, signature=signature):
        raise HTTPException(403, "This address was not given out here, or it has expired: read the run again.")
    async with engine.connect() as connection:
        body = await read_content(connection, hash_)
    if body is None:
        raise HTTPException(404, f"There is no content {content_hash}.")
    # What a client attached is data: no browser may run it as a page of this origin.
    headers = {
        "Content-Type": type if type.isascii() and type.isprintable() else "application/octet-stream",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, max-age=3600",
    }
    return Response(body, headers=headers)


def _hash(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise HTTPException(404, f"There is no content {text}.") from None
