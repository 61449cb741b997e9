"""Query parameters that a route does not have: a slip, where people and their own programs ask (decision 15)."""

from fastapi import Depends, HTTPException, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute


async def refuse_unknown_parameters(request: Request) -> None:
    """Raise 422 that names the parameters in the query that the route does not have, and those that it has."""
    if not request.query_params:
        return
    known = names_of(request.scope["route"])
    unknown = [repr(name) for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        none = "is no parameter" if len(unknown) == 1 else "are no parameters"
        there = f"there are {', '.join(known)}" if known else "there are none"
        raise HTTPException(422, f"{', '.join(unknown)} {none} here: {there}")


def names_of(route: APIRoute) -> list[str]:
    """The query parameters of a route, as they are sent, in the order of its document."""
    fields = get_flat_params(route.dependant)
    return list(dict.fromkeys(field.alias for field in fields if isinstance(field.field_info, Query)))


KNOWN_PARAMETERS_ONLY = Depends(refuse_unknown_parameters)
"""For routes that no SDK of LangSmith's calls."""
