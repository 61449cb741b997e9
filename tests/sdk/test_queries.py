"""Whatever SDK asks for runs: it finds those that were sent, by every argument that it has."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.sdk.comparison import instant
from tests.sdk.conftest import Sent
from tests.sdk.environments import JS_CLIENTS, PYTHON_CLIENTS

pytestmark = pytest.mark.parametrize("client_name", [*PYTHON_CLIENTS, *JS_CLIENTS])

Run = dict[str, Any]
Arguments = dict[str, Any]
Wanted = tuple[Arguments, Callable[[Run], bool]]


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
        ({"project_id": sent.store.run(agent["id"])["session_id"]}, lambda run: True),
        ({"run_ids": [agent["id"], chat["id"]]}, lambda run: run["id"] in (agent["id"], chat["id"])),
        ({"run_type": "llm"}, lambda run: run["run_type"] == "llm"),
        ({"trace_id": agent["trace_id"]}, lambda run: run["trace_id"] == agent["trace_id"]),
        ({"parent_run_id": agent["id"]}, lambda run: run["parent_run_id"] == agent["id"]),
        ({"is_root": True}, lambda run: run["parent_run_id"] is None),
        ({"is_root": False}, lambda run: run["parent_run_id"] is not None),
        ({"execution_order": 1}, lambda run: run["parent_run_id"] is None),
        ({"error": True}, lambda run: bool(run.get("error"))),
        ({"error": False}, lambda run: not run.get("error")),
        ({"start_time": half}, lambda run: instant(run["start_time"]) >= instant(half)),
        ({"select": ["id", "name", "start_time", "run_type", "trace_id"]}, lambda run: True),
        ({"order": "asc"}, lambda run: True),
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


# What the arguments of `list_runs` are called elsewhere; what is not named is the same, or not there.
CAMEL = {
    "project_id": "projectId",
    "run_ids": "id",
    "run_type": "runType",
    "trace_id": "traceId",
    "parent_run_id": "parentRunId",
    "is_root": "isRoot",
    "execution_order": "executionOrder",
    "start_time": "startTime",
    "trace_filter": "traceFilter",
    "tree_filter": "treeFilter",
}
OF_STATS = {"run_ids": "id", "trace_id": "trace", "parent_run_id": "parent_run", "project_id": None}
OF_SECOND = {"run_ids": "ids", "error": "has_error", "start_time": "min_start_time", "project_id": None}
ABOUT_ORDER_AND_FORM = {"select", "order", "execution_order"}
NOT_IN_SECOND = ABOUT_ORDER_AND_FORM | {"parent_run_id", "query"}


def as_asked(sent: Sent, arguments: Arguments) -> Arguments:
    """The arguments as `list_runs` of this client takes them."""
    if sent.client.name in JS_CLIENTS:
        return {"projectName": sent.project, **{CAMEL.get(name, name): value for name, value in arguments.items()}}
    return {"project_name": sent.project, **arguments}


def of_stats(sent: Sent, arguments: Arguments) -> Arguments:
    """The same for `get_run_stats`."""
    is_js = sent.client.name in JS_CLIENTS
    named = {OF_STATS.get(name, name): value for name, value in arguments.items()}
    camel = {"parent_run": "parentRun", **{name: new for name, new in CAMEL.items() if name not in OF_STATS}}
    return {
        "projectNames" if is_js else "project_names": [sent.project],
        **{(camel.get(name, name) if is_js else name): value for name, value in named.items() if name is not None},
    }


def of_second(arguments: Arguments) -> Arguments:
    """The same for `runs.query` of the second generation, which is called so by every client."""
    named = {OF_SECOND.get(name, name): value for name, value in arguments.items()}
    if "run_type" in named:
        named["run_type"] = named["run_type"].upper()
    return {name: value for name, value in named.items() if name is not None}


@pytest.fixture
def answered(sent: Sent) -> dict[str, Any]:
    """What the SDK found; it is asked once for each test, as another process."""
    asked = [arguments for arguments, _ in questions(sent)]
    wanted = {
        "project": sent.project,
        "project_id": sent.store.run(sent.named("agent")[0]["id"])["session_id"],
        "root": sent.named("agent")[0]["id"],
        "questions": [as_asked(sent, arguments) for arguments in asked],
        "sums": [of_stats(sent, arguments) for arguments in asked if not ABOUT_ORDER_AND_FORM & set(arguments)],
        "second": [of_second(arguments) for arguments in asked if not NOT_IN_SECOND & set(arguments)],
    }
    driver = "query_runs.mjs" if sent.client.name in JS_CLIENTS else "query_runs.py"
    document: dict[str, Any] = sent.client.run(driver, sent.environ, sent.directory, wanted)
    return document


def of_project(sent: Sent) -> list[Run]:
    return [run for run in sent.runs if run["project"] == sent.project]


def test_the_sdk_finds_the_runs_that_it_asks_for(sent: Sent, answered: dict[str, Any]) -> None:
    _check_found(sent, answered["answers"], lambda _: True)
    _check_order(sent, answered["answers"])
    _check_sums(sent, answered)
    _check_family(sent, answered)
    _check_addresses(sent, answered)
    if "second generation" in answered:
        _check_second_generation(sent, answered["second generation"])


def wanted_ids(sent: Sent, is_wanted: Callable[[Run], bool]) -> set[str]:
    return {run["id"] for run in of_project(sent) if is_wanted(run)}


def _check_found(sent: Sent, answers: list[list[str]], is_asked: Callable[[Arguments], bool]) -> None:
    asked = [(arguments, is_wanted) for arguments, is_wanted in questions(sent) if is_asked(arguments)]
    for (arguments, is_wanted), found in zip(asked, answers, strict=True):
        wanted = wanted_ids(sent, is_wanted)
        assert len(set(found)) == len(found), arguments
        assert set(found) == wanted, arguments
        assert wanted, arguments


def _check_order(sent: Sent, answers: list[list[str]]) -> None:
    started = {run["id"]: instant(run["start_time"]) for run in of_project(sent)}
    for (arguments, _), found in zip(questions(sent), answers, strict=True):
        starts = [started[id_] for id_ in found]
        assert starts == sorted(starts, reverse=arguments.get("order") != "asc"), arguments


def _check_sums(sent: Sent, answered: dict[str, Any]) -> None:
    runs = of_project(sent)
    assert answered["stats"]["run_count"] == len(runs)
    assert answered["stats"]["total_tokens"] == sum(map(tokens_of, runs))
    asked = [one for one in questions(sent) if not ABOUT_ORDER_AND_FORM & set(one[0])]
    for (arguments, is_wanted), count in zip(asked, answered["counts"], strict=True):
        assert count == len(wanted_ids(sent, is_wanted)), arguments
    assert answered["limited"] == 3


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
    _check_found(sent, answered["answers"], lambda arguments: not NOT_IN_SECOND & set(arguments))
    assert answered["streamed"] in (None, answered["ids"])
    assert answered["types"] == {id_: run["run_type"] for id_, run in runs.items()}
    root = sent.named("agent")[0]
    assert answered["retrieved"] == [root["id"], root["name"], root["langsmith_status"], root["tags"]]
    assert answered["url"].startswith("http://127.0.0.1:")
