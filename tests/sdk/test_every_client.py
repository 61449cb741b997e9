"""Whatever client a trace comes from: it reads back as it was sent, from every endpoint that shows it."""

import hashlib
from collections import Counter
from typing import Any

import pytest

from tests.sdk.comparison import differences, feedback_differences, instant
from tests.sdk.conftest import Sent
from tests.sdk.environments import JS_CLIENTS, LANGCHAIN_CLIENTS, PYTHON_CLIENTS

pytestmark = pytest.mark.parametrize("client_name", [*PYTHON_CLIENTS, *JS_CLIENTS, *LANGCHAIN_CLIENTS])

# Fields that the model of an SDK's own runs does not have.
NOT_IN_SDK_RUNS = ("project",)


def test_every_run_reads_back_as_sent(sent: Sent) -> None:
    found = [line for run in sent.runs for line in differences(run, sent.store.run(run["id"]), status="status")]
    assert not found, "\n".join(found)


def test_the_sdk_reads_back_what_it_sent(sent: Sent) -> None:
    read = sent.read_back()
    found = [
        line
        for run, stored in zip(sent.runs, read["runs"], strict=True)
        for line in differences(run, stored, status="langsmith_status", leave_out=NOT_IN_SDK_RUNS)
    ]
    found += [
        line
        for item, stored in zip(sent.feedback, read["feedback"], strict=True)
        for line in feedback_differences(item, stored)
    ]
    assert not found, "\n".join(found)


def test_a_langsmith_client_is_answered_in_langsmiths_words(sent: Sent) -> None:
    answered = {run["id"]: sent.store.run(run["id"], user_agent=sent.sdk)["status"] for run in sent.runs}
    assert answered == {run["id"]: run["langsmith_status"] for run in sent.runs}


def test_the_sdk_had_nothing_to_complain_about(sent: Sent) -> None:
    assert [line for line in sent.warnings if "deprecated" not in line] == []


def test_feedback_is_listed_with_its_run(sent: Sent) -> None:
    run_ids = {item["run_id"] for item in sent.feedback}
    listed = {item["id"]: item for run_id in run_ids for item in sent.store.feedback(run_id)}
    assert listed.keys() == {item["id"] for item in sent.feedback}
    found = [line for item in sent.feedback for line in feedback_differences(item, listed[item["id"]])]
    assert not found, "\n".join(found)


def test_attachments_come_back_byte_for_byte_from_their_signed_urls(sent: Sent) -> None:
    assert {run["id"]: _downloaded(sent, run["id"]) for run in sent.runs} == {
        run["id"]: run.get("attachments", {}) for run in sent.runs
    }


def _downloaded(sent: Sent, run_id: str) -> dict[str, dict[str, str]]:
    links = sent.store.run(run_id).get("s3_urls") or {}
    contents = {name: sent.store.download(link["presigned_url"]).content for name, link in links.items()}
    return {
        name.removeprefix("attachment."): {
            "mime_type": links[name]["mime_type"],
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for name, content in contents.items()
    }


def test_a_project_lists_its_traces_and_no_others(sent: Sent) -> None:
    for project in _projects(sent):
        expected = {run["id"]: run for run in sent.roots() if run["project"] == project}
        page = sent.store.roots(project)
        assert {run["id"] for run in page["runs"]} == expected.keys()
        assert (page["total"], page["offset"], page["has_more"]) == (len(expected), 0, False)
        found = [
            line for run in page["runs"] for line in differences(_listed(expected[run["id"]]), run, status="status")
        ]
        assert not found, "\n".join(found)


def _listed(run: dict[str, Any]) -> dict[str, Any]:
    """A run's fields as a list of root runs is documented to show them."""
    shown = ("id", "name", "run_type", "status", "start_time", "end_time", "inputs", "outputs", "project")
    return {name: run[name] for name in shown}


def test_traces_are_listed_newest_first_and_found_by_status(sent: Sent) -> None:
    starts = [instant(run["start_time"]) for run in sent.store.roots(sent.project)["runs"]]
    assert starts == sorted(starts, reverse=True)
    here = [run for run in sent.roots() if run["project"] == sent.project]
    found = {
        status: {run["id"] for run in sent.store.roots(sent.project, status=status)["runs"]}
        for status in ("completed", "failed", "running")
    }
    assert found == {status: {run["id"] for run in here if run["status"] == status} for status in found}


def test_the_hierarchy_has_the_shape_of_the_trace(sent: Sent) -> None:
    for root in sent.roots():
        answer = sent.store.hierarchy(root["id"])
        expected = _sent_tree(sent, root)
        assert _stored_tree(answer["hierarchy"]) == expected
        assert answer["root_run_id"] == root["id"]
        assert answer["total_runs"] == sum(run["trace_id"] == root["id"] for run in sent.runs)
        assert answer["max_depth"] == _depth(expected)


Tree = tuple[str, str, str, str, frozenset[Any]]


def _sent_tree(sent: Sent, run: dict[str, Any]) -> Tree:
    children = frozenset(_sent_tree(sent, child) for child in sent.children(run["id"]))
    return (run["id"], run["name"], run["run_type"], run["status"], children)


def _stored_tree(node: dict[str, Any]) -> Tree:
    children = frozenset(_stored_tree(child) for child in node["children"])
    return (node["id"], node["name"], node["run_type"], node["status"], children)


def _depth(tree: Tree) -> int:
    return 1 + max((_depth(child) for child in tree[-1]), default=0)


def test_the_statistics_count_what_was_sent(sent: Sent) -> None:
    before, after = sent.stats_before, sent.stats_after["stats"]
    assert after["total_runs"] - before["total_runs"] == len(sent.runs)
    assert after["total_traces"] - before["total_traces"] == len(sent.roots())
    for distribution, field in (
        ("status_distribution", "status"),
        ("run_type_distribution", "run_type"),
        ("project_distribution", "project"),
    ):
        grown = Counter(after[distribution])
        grown.subtract(before[distribution])
        assert +grown == Counter(run[field] for run in sent.runs), distribution


def test_the_projects_that_were_sent_to_are_the_recent_ones(sent: Sent) -> None:
    recent = {project["name"]: project for project in sent.stats_after["recent_projects"]}
    for project in _projects(sent):
        here = [run for run in sent.runs if run["project"] == project]
        assert recent[project]["total_runs"] == len(here)
        assert recent[project]["total_traces"] == sum(run["parent_run_id"] is None for run in here)


def _projects(sent: Sent) -> set[str]:
    return {run["project"] for run in sent.runs}
