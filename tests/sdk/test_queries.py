"""Whatever SDK asks for runs: it finds those that were sent, by every argument that it has."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.sdk.comparison import instant
from tests.sdk.conftest import Sent
from tests.sdk.environments import JS_CLIENTS, PYTHON_CLIENTS

pytestmark = pytest.mark.parametrize("client_name", [*PYTHON_CLIENTS, *JS_CLIENTS])

Run = dict[str, Any]
Wanted = tuple[dict[str, Any], Callable[[Run], bool]]


def tokens_of(run: Run) -> int:
    return int((run.get("usage") or {}).get("total_tokens", 0))


def questions(sent: Sent) -> list[Wanted]:
    """Arguments of list_runs, each with what it asks of a run of the project."""
    agent = sent.named("agent")[0]
    chat = sent.named("ChatModel")[0]
    middle = sorted(instant(run["start_time"]) for run in sent.runs)[len(sent.runs) // 2]
    # JavaScript's dates know no less than milliseconds.
    half = middle.replace(microsecond=middle.microsecond // 1000 * 1000).isoformat()
    metadata = 'and(eq(metadata_key, "ls_provider"), eq(metadata_value, "openai"))'
    failing = 'or(eq(status, "error"), and(eq(run_type, "llm"), gt(total_tokens, 39)))'
    return [
        ({}, lambda run: True),
        ({"run_type": "llm"}, lambda run: run["run_type"] == "llm"),
        ({"trace_id": agent["trace_id"]}, lambda run: run["trace_id"] == agent["trace_id"]),
        ({"parent_run_id": agent["id"]}, lambda run: run["parent_run_id"] == agent["id"]),
        ({"is_root": True}, lambda run: run["parent_run_id"] is None),
        ({"is_root": False}, lambda run: run["parent_run_id"] is not None),
        ({"error": True}, lambda run: bool(run.get("error"))),
        ({"error": False}, lambda run: not run.get("error")),
        ({"start_time": half}, lambda run: instant(run["start_time"]) >= instant(half)),
        ({"select": ["id", "name", "start_time", "run_type", "trace_id"]}, lambda run: True),
        ({"filter": 'eq(name, "worker")'}, lambda run: run["name"] == "worker"),
        ({"filter": 'has(tags, "décor")'}, lambda run: "décor" in run.get("tags", [])),
        ({"filter": metadata}, lambda run: run.get("metadata", {}).get("ls_provider") == "openai"),
        (
            {"filter": failing},
            lambda run: bool(run.get("error")) or tokens_of(run) > 39,
        ),
        ({"query": "品切れ"}, lambda run: "品切れ" in f"{run}"),
        (
            {"filter": 'eq(run_type, "llm")', "trace_filter": 'eq(name, "agent")'},
            lambda run: run["run_type"] == "llm" and run["trace_id"] in {root["id"] for root in sent.named("agent")},
        ),
        (
            {"is_root": True, "tree_filter": f'eq(id, "{chat["id"]}")'},
            lambda run: run["parent_run_id"] is None and run["trace_id"] == chat["trace_id"],
        ),
    ]


CAMEL = {
    "run_type": "runType",
    "trace_id": "traceId",
    "parent_run_id": "parentRunId",
    "is_root": "isRoot",
    "start_time": "startTime",
    "trace_filter": "traceFilter",
    "tree_filter": "treeFilter",
}


def as_asked(sent: Sent, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments as the SDK of this client takes them."""
    if sent.client.name in JS_CLIENTS:
        return {"projectName": sent.project, **{CAMEL.get(name, name): value for name, value in arguments.items()}}
    return {"project_name": sent.project, **arguments}


@pytest.fixture
def answered(sent: Sent) -> dict[str, Any]:
    """What the SDK found; it is asked once for each test, as another process."""
    asked = [as_asked(sent, arguments) for arguments, _ in questions(sent)]
    wanted = {"project": sent.project, "root": sent.named("agent")[0]["id"], "questions": asked}
    driver = "query_runs.mjs" if sent.client.name in JS_CLIENTS else "query_runs.py"
    document: dict[str, Any] = sent.client.run(driver, sent.environ, sent.directory, wanted)
    return document


def of_project(sent: Sent) -> list[Run]:
    return [run for run in sent.runs if run["project"] == sent.project]


def test_the_sdk_finds_the_runs_that_it_asks_for(sent: Sent, answered: dict[str, Any]) -> None:
    for (arguments, is_wanted), found in zip(questions(sent), answered["answers"], strict=True):
        wanted = {run["id"] for run in of_project(sent) if is_wanted(run)}
        assert len(set(found)) == len(found), arguments
        assert set(found) == wanted, arguments
        assert wanted, arguments
    _check_sums(sent, answered)
    _check_family(sent, answered)
    _check_addresses(sent, answered)
    if "second generation" in answered:
        _check_second_generation(sent, answered["second generation"])


def _check_sums(sent: Sent, answered: dict[str, Any]) -> None:
    runs = of_project(sent)
    assert answered["stats"]["run_count"] == len(runs)
    assert answered["failed"] == sum(bool(run.get("error")) for run in runs)
    assert answered["stats"]["total_tokens"] == sum(map(tokens_of, runs))


def _check_family(sent: Sent, answered: dict[str, Any]) -> None:
    def family(run_id: str) -> dict[str, Any]:
        return {"id": run_id, "children": [family(child["id"]) for child in sent.children(run_id)]}

    def in_order(tree: dict[str, Any]) -> dict[str, Any]:
        return {"id": tree["id"], "children": sorted(map(in_order, tree["children"]), key=lambda one: one["id"])}

    assert in_order(answered["family"]) == in_order(family(sent.named("agent")[0]["id"]))


def _check_addresses(sent: Sent, answered: dict[str, Any]) -> None:
    root = sent.named("agent")[0]["id"]
    project = sent.store.run(root)["session_id"]
    for url in (answered["url"], answered["app_path"]):
        assert f"/projects/p/{project}/r/{root}?" in url


def _check_second_generation(sent: Sent, answered: dict[str, Any]) -> None:
    runs = {run["id"]: run for run in of_project(sent)}
    assert sorted(answered["ids"]) == sorted(runs)
    assert answered["types"] == {id_: run["run_type"] for id_, run in runs.items()}
    assert sorted(answered["failed"]) == sorted(id_ for id_, run in runs.items() if run.get("error"))
    root = sent.named("agent")[0]
    assert answered["retrieved"] == [root["id"], root["name"], root["langsmith_status"], root["tags"]]
    assert answered["url"].startswith("http://127.0.0.1:")
