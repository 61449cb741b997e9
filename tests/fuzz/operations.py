"""Requests made from the API's own document: every answer must be one that the document tells of, and none a 5xx."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service.apps import a_run, an_ended_run

Known = Mapping[str, Any]
Operation = APIOperation[Any, Any, Any, Any]

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Its answers never end.
_LEFT_OUT: Final = frozenset({"GET /api/v1/events/stream"})
# What deletes comes after what could have read it.
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_TIMEOUT_S: Final = 120
THREAD: Final = "a thread"


def operations(url: str) -> list[Operation]:
    """What the document of a server offers, those operations last that take something away."""
    document = schemathesis.openapi.from_url(f"{url}/openapi.json", timeout=_TIMEOUT_S)
    found = [result.ok() for result in document.get_all_operations() if isinstance(result, Ok)]
    return sorted(
        (operation for operation in found if operation.label not in _LEFT_OUT),
        key=lambda operation: _METHODS.index(operation.method.upper()),
    )


def exercise(operation: Operation, url: str, known: Known, *, examples: int, reaching_data: bool = False) -> None:
    """Send requests of an operation that fit its document, with and without what the store knows, and that do not.

    With `reaching_data` only those that get furthest: what the store knows, where an operation takes any of that.
    Raises a group of schemathesis' failures when an answer is not as documented.
    """
    for strategy in _strategies(operation, known, reaching_data):

        @settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def ask(case: Case[Operation]) -> None:
            case.call_and_validate(base_url=url, checks=CHECKS, timeout=_TIMEOUT_S)

        with suppress(Unsatisfiable):  # Where any text will do, nothing can be made that does not fit.
            ask()


def _strategies(operation: Operation, known: Known, reaching_data: bool) -> Iterator[Any]:
    path = {item.name: known[item.name] for item in operation.path_parameters if item.name in known}
    query = {item.name: known[item.name] for item in operation.query if item.name in known}
    if path or query:
        yield operation.as_strategy(path_parameters=path, query=query)
    if reaching_data and (path or query):
        return
    yield operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if not reaching_data and (operation.path_parameters or operation.query or operation.body):
        yield operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)


def fill(url: str) -> Known:
    """Give a server some of everything; the values of parameters that then lead to it."""
    metadata = {"thread_id": THREAD, "usage_metadata": {"input_tokens": 3, "output_tokens": 4, "total_cost": 0.5}}
    root = an_ended_run(session_name="p", tags=["t"], extra={"metadata": metadata})
    child = an_ended_run(session_name="p", parent_run_id=root["id"], trace_id=root["id"], run_type="llm", error="no")
    with httpx.Client(base_url=url, timeout=_TIMEOUT_S) as client:

        def sent(method: str, path: str, body: Any) -> Any:
            answer = client.request(method, path, json=body)
            assert answer.is_success, answer.text
            return answer.json()

        sent("POST", "/runs/batch", {"post": [root, child, a_run(session_name="q")], "patch": [root | {"tags": ["u"]}]})
        client.post("/runs", json={"id": str(uuid.uuid4()), "name": "cannot be used"})
        feedback = sent("POST", "/feedback", {"key": "k", "run_id": root["id"], "score": 1, "comment": "c"})
        token = sent("POST", "/feedback/tokens", {"run_id": root["id"], "feedback_key": "k"})
        shared = sent("PUT", f"/runs/{root['id']}/share", {"run_id": root["id"]})
        sent("POST", "/feedback-configs", {"feedback_key": "k", "feedback_config": {"type": "freeform"}})
        project = client.get(f"/runs/{root['id']}").json()["session_id"]
    return {
        **{name: root["id"] for name in ("run_id", "trace_id", "id", "run")},
        **{name: project for name in ("project_id", "session_id", "session")},
        **{"feedback_id": feedback["id"], "token": shared["share_token"], "thread_id": THREAD},
        **{"version": 1, "from": 1, "to": 2, "receipt_id": 1, "quarantine_id": 1, "job": 1},
        "feedback_token": token["id"],
    }
