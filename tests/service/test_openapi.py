"""The document of the API, and that real answers are what it says."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from events.errors import Unavailable
from service.app import create_app
from service.settings import load_settings
from tests.service.apps import MULTIPART, Store, a_run, an_ended_run, json_part, new_id, open_store

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture
def document() -> dict[str, Any]:
    found: dict[str, Any] = create_app(load_settings(None)).openapi()
    return found


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_example_of_an_answer_is_what_its_schema_says(document: dict[str, Any]) -> None:
    checked = 0
    for name, status, body in answers_of(document):
        for example in examples_of(document, body):
            assert problems(document, body["schema"], with_nulls(document, body["schema"], example)) == [], (
                name,
                status,
            )
            checked += 1
    assert checked > 50


def test_every_example_of_a_request_is_what_its_schema_says(document: dict[str, Any]) -> None:
    checked = 0
    for path, method, operation in operations_of(document):
        for body in operation.get("requestBody", {}).get("content", {}).values():
            for example in examples_of(document, body):
                assert problems(document, body["schema"], example) == [], (method, path)
                checked += 1
    assert checked >= 5


async def test_every_example_of_a_request_about_a_run_is_taken_as_it_stands(store: Store) -> None:
    document, run = store.app.openapi(), a_run()
    for path, method, operation in operations_of(document):
        if not OURS & set(operation["tags"]):
            continue
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        for example in examples_of(document, body or {}):
            await store.post(run)
            await store.client.post("/sessions", json={"id": run["id"], "name": "a project"})
            concrete = re.sub(r"{\w+}", run["id"], path)
            answer = await store.client.request(method, concrete, json=example)
            assert answer.status_code < 300, (method, path, answer.text)


class Recorded:
    """Holds each answer of a store against what the document says of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._document = store.app.openapi()
        self.seen: set[tuple[str, str, str]] = set()

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = await self._store.client.request(method, path, **more)
        declared = self._declared_path(path.split("?")[0])
        status = str(answer.status_code)
        documented = self._document["paths"][declared][method.lower()]["responses"]
        assert status in documented, f"{method} {declared} answered {status}: {answer.text[:200]}"
        self.seen.add((method, declared, status))
        content = documented[status].get("content", {})
        if "application/json" in content:
            assert answer.headers["content-type"] == "application/json"
            value = answer.json()
            assert problems(self._document, content["application/json"]["schema"], value) == [], (method, path)
            assert undeclared(self._document, content["application/json"]["schema"], value) == set(), (method, path)
            return value
        return answer.content

    def _declared_path(self, path: str) -> str:
        if path not in self._document["paths"] and not path.startswith("/api/"):
            path = "/api/v1" + path
        matching = [
            declared for declared in self._document["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", declared), path)
        ]
        return str(min(matching, key=lambda declared: declared.count("{")))


@pytest.fixture
async def recorded(database_url: str) -> AsyncIterator[tuple[Store, Recorded]]:
    async with open_store(database_url, max_body_mb=1, max_trace_size_mb=1) as store:
        yield store, Recorded(store)


async def test_real_answers_are_what_the_document_says(
    recorded: tuple[Store, Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, answers = recorded
    ask = answers.ask
    run, child, root = an_ended_run(tags=["a"], mine={"b": 1}, error="boom"), new_id(), new_id()
    usage = {"usage_metadata": {"input_tokens": 1, "output_tokens": 2, "total_cost": 0.5}}
    await ask("POST", "/runs", json=run)
    await ask("PATCH", f"/runs/{run['id']}", json={"extra": {"metadata": {"thread_id": "t"}}, "outputs": usage})
    await ask("POST", "/runs/batch", json={"post": [a_run(id=child, parent_run_id=root), {}], "patch": [{"id": child}]})
    parts = (json_part(f"patch.{run['id']}", {}), (f"attachment.{run['id']}.a", b"x", "text/plain"))
    await store.send_parts(*parts)
    feedback = await ask("POST", "/feedback", json={"key": "k", "run_id": run["id"], "score": True, "new": 1})
    await ask("PATCH", f"/feedback/{feedback['id']}", json={"score": 0.5, "comment": "x"})

    read = await ask("GET", f"/runs/{run['id']}")
    await ask("GET", f"/runs/{child}")
    await ask("GET", read["s3_urls"]["attachment.a"]["presigned_url"].removeprefix("http://testserver"))
    for path in (
        *(
            "/health",
            "/health/ready",
            "/health/live",
            "/info",
            "/settings",
            "/sessions",
            f"/sessions/{read['session_id']}",
        ),
        *("/dashboard/runs/roots", "/dashboard/runs/roots?preview=true&trace_totals=true", "/dashboard/stats/summary"),
        *("/dashboard/stats/overview", f"/runs/{run['id']}/chain"),
        *(f"/dashboard/runs/{run['id']}/hierarchy", f"/dashboard/runs/{root}/hierarchy"),
        *(f"/dashboard/runs/{run['id']}/outline", f"/dashboard/runs/{root}/outline"),
        *(f"/feedback/{feedback['id']}", "/feedback"),
    ):
        await ask("GET", path)
    project = read["session_id"]
    await ask("POST", "/runs/query", json={"session": [project], "select": ["inputs"]})
    await ask("POST", "/runs/query", json={"filter": "eq("})
    await ask("POST", "/runs/query", json={"cursor": "x"})
    await ask("POST", "/runs/stats", json={"session": [project]})
    await ask("POST", "/runs/stats", json={"session": ["x"]})
    await ask("POST", "/runs/group", json={"session_id": project, "group_by": "conversation"})
    await ask("POST", "/runs/group", json={})
    await ask("POST", "/api/v2/runs/query", json={"project_ids": [project], "min_start_time": "2024-01-01T00:00:00Z"})
    await ask("POST", "/api/v2/runs/query", json={"selects": ["NOTHING"]})
    await ask("GET", f"/api/v2/runs/{run['id']}?selects=NAME&selects=INPUTS")
    await ask("GET", f"/api/v2/runs/{root}")
    await ask("GET", f"/api/v2/runs/{run['id']}/url?project_id={project}")
    await ask_about_what_is_shared_and_judged(ask, run["id"], read["session_id"])
    made = await ask("POST", "/sessions", json={"name": "a project", "extra": {"metadata": {"a": 1}}})
    await ask("POST", "/sessions", json={"name": "a project"})
    await ask("POST", "/sessions", json={"name": ""})
    await ask("PATCH", f"/sessions/{made['id']}", json={"name": "another", "end_time": "2024-01-15T10:30:00Z"})
    await ask("PATCH", f"/sessions/{made['id']}", json={"name": "default"})
    await ask("PATCH", f"/sessions/{root}", json={})
    await ask("GET", f"/sessions/{read['session_id']}?include_stats=true")
    await ask("DELETE", f"/sessions/{made['id']}")
    await ask("DELETE", f"/sessions/{made['id']}")
    for path in (
        "/runs/1",
        "/feedback/1",
        "/sessions/1",
        "/dashboard/runs/1/hierarchy",
        "/dashboard/runs/roots?limit=0",
    ):
        await ask("GET", path)
    for path in (f"/runs/{root}", f"/feedback/{root}", f"/sessions/{root}", f"/dashboard/runs/{new_id()}/hierarchy"):
        await ask("GET", path)
    await ask("GET", "/contents/00?type=a&name=b&expires=1&signature=c")
    for path in ("/runs", "/runs/batch", "/feedback", "/runs/multipart"):
        await ask("POST", path, content=b"no json")
        await ask("POST", path, content=b"x" * (2**20 + 1))
        await ask("POST", path, content=b"x", headers={"Content-Encoding": "br"})
    await ask("POST", "/runs", json={})
    await ask("POST", "/feedback", json={})
    await ask("PATCH", "/runs/1", json={})
    await ask("PATCH", f"/feedback/{new_id()}", json=[])
    await ask("POST", "/runs/multipart", content=b"", headers={"Content-Type": MULTIPART})
    await ask("DELETE", f"/feedback/{feedback['id']}", headers={"Origin": "http://evil.example"})
    await ask("DELETE", f"/feedback/{feedback['id']}")

    async def gone() -> None:
        raise Unavailable("down")

    writer = store.app.state.intake.writer
    monkeypatch.setattr(writer, "_patience_s", 0.3)
    monkeypatch.setattr(writer._writer, "_begin", gone)
    await ask("POST", "/runs", json=a_run())
    assert len(answers.seen) >= 45
    succeeded = {(method, path) for method, path, status in answers.seen if status < "300"}
    ours = {(m.upper(), p) for p, m, o in operations_of(store.app.openapi()) if (OURS | MORE) & set(o["tags"])}
    assert ours <= succeeded


MORE = {
    *("feedback tokens", "feedback configurations", "shares", "shares (v2)", "public", "public (v2)"),
    *("threads", "traces (v2)", "projects (v2)"),
}
OURS = {"ingest", "runs", "runs, second generation", "dashboard", "feedback", "projects", "contents", "health", "info"}


# Reads that are posted.
QUERIES = ("/query", "/stats", "/group")


async def ask_about_what_is_shared_and_judged(ask: Any, run_id: str, project_id: str) -> None:
    """Tokens and configurations of feedback, shares, and the threads and traces of the second generation."""
    tokens = "/feedback/tokens"
    token = await ask("POST", tokens, json={"run_id": run_id, "feedback_key": "k"})
    await ask("POST", tokens, json=[{"run_id": run_id, "feedback_key": "k", "expires_in": {"days": 1}}])
    await ask("POST", tokens, json={"run_id": "x"})
    await ask("GET", f"{tokens}?run_id={run_id}")
    link = token["url"].removeprefix("http://testserver")
    await ask("POST", link, json={"score": 1})
    await ask("GET", f"{link}?score=0.5")
    await ask("POST", f"{tokens}/{new_id()}", json={"score": 1})
    config = {"feedback_key": "k", "feedback_config": {"type": "continuous", "min": 0, "max": 1}}
    await ask("POST", "/feedback-configs", json=config)
    await ask("POST", "/feedback-configs", json={**config, "feedback_config": {"type": "freeform"}})
    await ask("PATCH", "/feedback-configs", json={"feedback_key": "k", "is_lower_score_better": True})
    await ask("PATCH", "/feedback-configs", json={"feedback_key": "unknown"})
    await ask("GET", "/feedback-configs")
    await ask("DELETE", "/feedback-configs?feedback_key=k")
    share = f"/runs/{run_id}/share"
    await ask("GET", share)
    shared = (await ask("PUT", share))["share_token"]
    await ask("GET", share)
    await ask("POST", f"/api/v2{share}", json={})
    await ask("PUT", f"/runs/{new_id()}/share")
    for path in ("/run", f"/run/{run_id}", "/runs", "/feedbacks", "/hierarchy", "/outline"):
        await ask("GET", f"/public/{shared}{path}")
    await ask("GET", f"/public/{new_id()}/run")
    await ask("POST", f"/public/{shared}/runs/query", json={})
    await ask("GET", f"/api/v2/public/{shared}/run/{run_id}?selects=NAME")
    await ask("POST", f"/api/v2/public/{shared}/runs/query", json={"selects": ["NAME"]})
    window = {"project_id": project_id, "min_start_time": "2024-01-01T00:00:00Z"}
    await ask("POST", "/api/v2/threads/query", json=window)
    await ask("POST", "/api/v2/threads/stats", json={**window, "select": ["THREAD_COUNT"]})
    await ask("GET", f"/api/v2/threads/t/traces?project_id={project_id}&selects=NAME&selects=TURN_NUMBER")
    await ask("GET", f"/api/v2/threads/t/stats?session_id={project_id}")
    await ask("GET", f"/api/v2/threads/{new_id()}/stats?session_id={project_id}")
    await ask("POST", "/api/v2/traces/query", json={**window, "selects": ["NAME", "TOTAL_TOKENS"]})
    await ask("GET", f"/api/v2/traces/{run_id}/runs?selects=NAME")
    await ask("DELETE", f"/api/v2{share}")
    await ask("DELETE", share)
    await ask("GET", "/api/v2/sessions?include_stats=true")
    made = await ask("POST", "/api/v2/sessions", json={"name": "second generation", "type": "PROJECT"})
    await ask("GET", f"/api/v2/sessions/{made['id']}")
    await ask("PATCH", f"/api/v2/sessions/{made['id']}", json={"description": "x"})


async def test_an_answer_to_nobody_we_know_is_what_the_document_says(database_url: str) -> None:
    async with open_store(database_url, require_auth=True, api_keys="boss,reader:read") as store:
        recorded = Recorded(store)
        for path, method, operation in operations_of(store.app.openapi()):
            if "401" not in operation["responses"]:
                continue
            await recorded.ask(method.upper(), re.sub(r"{\w+}", new_id(), path))
            if method != "get" and not path.endswith(QUERIES):
                await recorded.ask(method.upper(), re.sub(r"{\w+}", new_id(), path), headers={"x-api-key": "reader"})
        assert {status for _, _, status in recorded.seen} == {"401", "403"}


# --- reading the document ---------------------------------------------------------------------------------------------


def operations_of(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]


def answers_of(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (f"{method} {path}", status, body)
        for path, method, operation in operations_of(document)
        for status, answer in operation["responses"].items()
        for media_type, body in answer.get("content", {}).items()
        if media_type == "application/json"
    ]


def examples_of(document: dict[str, Any], body: dict[str, Any]) -> list[Any]:
    if "example" in body:
        return [body["example"]]
    schema = resolved(document, body.get("schema", {}))
    return [*schema.get("examples", []), *([schema["example"]] if "example" in schema else [])]


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][reference.rsplit("/")[-1]]
    return found


def with_nulls(document: dict[str, Any], schema: dict[str, Any], example: Any) -> Any:
    """An example with the members that are null, which FastAPI leaves out of the document."""
    schema = resolved(document, schema)
    if isinstance(example, list):
        return [with_nulls(document, schema.get("items", {}), item) for item in example]
    if not isinstance(example, dict):
        return example
    named = schema.get("properties", {})
    nulls = dict.fromkeys(name for name in schema.get("required", []) if not problems(document, named[name], None))
    return nulls | {name: with_nulls(document, named.get(name, {}), value) for name, value in example.items()}


def problems(document: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    """What is wrong with a value by a schema of the document."""
    whole = {**schema, "components": document["components"]}
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(whole).iter_errors(value)]


def undeclared(document: dict[str, Any], schema: dict[str, Any], value: Any, at: str = "$") -> set[str]:
    """The members of a value that a schema does not name, unless it says that there may be others."""
    schema = resolved(document, schema)
    for choice in schema.get("anyOf", []):
        if not problems(document, choice, value):
            return undeclared(document, choice, value, at)
    found: set[str] = set()
    if isinstance(value, list):
        for item in value:
            found |= undeclared(document, schema.get("items", {}), item, f"{at}[]")
    elif isinstance(value, dict) and "properties" in schema:
        named = schema["properties"]
        if not schema.get("additionalProperties"):
            found |= {f"{at}.{name}" for name in value.keys() - named.keys()}
        for name in value.keys() & named.keys():
            found |= undeclared(document, named[name], value[name], f"{at}.{name}")
    return found


def test_members_that_a_schema_does_not_name_are_found(document: dict[str, Any]) -> None:
    schema = {"$ref": "#/components/schemas/SettingsBody"}
    assert undeclared(document, schema, {"id": "x", "other": 1}) == {"$.other"}


def test_the_document_of_an_application_names_its_settings() -> None:
    app: FastAPI = create_app(load_settings(None, app_name="Mine", app_version="9.9.9"))
    assert (app.openapi()["info"]["title"], app.openapi()["info"]["version"]) == ("Mine", "9.9.9")
