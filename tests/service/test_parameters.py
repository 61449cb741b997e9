"""Unknown query parameters: refused with a sentence where no SDK asks, passed over where SDKs do."""

from typing import Any, cast

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from service.app import create_app
from service.parameters import names_of
from service.settings import load_settings
from tests.service.apps import Store, a_run, new_id

OWN = {"dashboard", "history", "corrections", "log", "projections"}
PLACES = {name: new_id() for name in ("run_id", "trace_id")} | dict.fromkeys(
    ("version", "receipt_id", "quarantine_id", "job"), "1"
)


def operations(*, own: bool) -> list[tuple[str, str, list[str]]]:
    """Method, address and parameters of each operation that is our own, or that LangSmith has as well."""
    document: dict[str, Any] = create_app(load_settings(None)).openapi()
    return [
        (method.upper(), path.format(**PLACES), parameters_of(operation))
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if path.startswith("/api/v1/") and bool(OWN & set(operation["tags"])) == own and (own or "{" not in path)
    ]


def parameters_of(operation: dict[str, Any]) -> list[str]:
    return [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]


async def test_an_unknown_parameter_of_an_operation_of_our_own_is_refused_with_those_that_there_are(
    store: Store,
) -> None:
    await store.post(a_run(session_name="p"))
    asked = operations(own=True)
    for method, address, known in asked:
        answer = await store.client.request(method, address, params={"projct": "x"})
        there = f"there are {', '.join(known)}" if known else "there are none"
        assert (method, address, answer.status_code) == (method, address, 422)
        assert answer.json()["detail"] == f"'projct' is no parameter here: {there}"
    assert len(asked) > 20


async def test_several_unknown_parameters_are_all_named(store: Store) -> None:
    answer = await store.client.get("/dashboard/stats/summary?a=1&b=2&a=3")
    assert answer.json()["detail"] == "'a', 'b' are no parameters here: there are none"


async def test_known_parameters_are_taken_under_every_name_that_they_have(store: Store) -> None:
    for query in ("project=p", "project_name=p", "status=failed&limit=1&preview=true"):
        assert (await store.client.get(f"/dashboard/runs/roots?{query}")).status_code == 200


@pytest.mark.parametrize("agent", ["langsmith-py/99.0", "curl/8"])
async def test_what_sdks_call_passes_over_what_it_does_not_know(store: Store, agent: str) -> None:
    run = a_run()
    headers = {"User-Agent": agent}
    later = {"of_a_later_version": "x"}
    sent = await store.client.post("/runs/batch", json={"post": [run]}, params=later, headers=headers)
    assert sent.status_code == 200
    reading = [address for method, address, _ in operations(own=False) if method == "GET"]
    for address in (f"/runs/{run['id']}", *reading):
        answer = await store.client.get(address, params=later, headers=headers)
        assert "of_a_later_version" not in answer.text, address
    assert (await store.client.get(f"/runs/{run['id']}", params=later, headers=headers)).status_code == 200


def test_the_parameters_of_a_route_are_those_of_its_document() -> None:
    app = create_app(load_settings(None))
    paths = app.openapi()["paths"]
    checked = 0
    for route in iter_route_contexts(app.routes):
        for method in route.methods or ():
            operation = paths.get(route.path, {}).get(method.lower())
            if operation is not None:
                assert names_of(cast(APIRoute, route)) == parameters_of(operation), (method, route.path)
                checked += 1
    assert checked > 70
