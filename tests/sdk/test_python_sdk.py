"""What only the Python SDK sends, or sends in ways of its own."""

import pytest

from tests.sdk.conftest import Sent
from tests.sdk.environments import PYTHON_CLIENTS

pytestmark = pytest.mark.parametrize("client_name", PYTHON_CLIENTS)


def test_the_installed_sdk_is_the_one_that_is_meant(sent: Sent, client_name: str) -> None:
    assert sent.sdk == f"langsmith-py/{client_name.removeprefix('langsmith-')}"


def test_a_call_from_another_process_joins_the_trace_of_its_caller(sent: Sent) -> None:
    (caller,), (callee,) = sent.named("caller"), sent.named("callee")
    assert callee["trace_id"] == caller["id"]
    tree = sent.store.hierarchy(caller["id"])["hierarchy"]
    assert [child["id"] for child in tree["children"]] == [callee["id"]]


def test_an_exception_is_kept_with_its_traceback(sent: Sent) -> None:
    for run in sent.named("fail"):
        error = sent.store.run(run["id"])["error"]
        assert error.startswith("OutOfStock('no ")
        assert "品切れ" in error
        assert "Traceback (most recent call last)" in error


def test_a_stream_that_breaks_off_keeps_what_it_gave(sent: Sent) -> None:
    (run,) = sent.named("stream_that_fails")
    stored = sent.store.run(run["id"])
    assert stored["status"] == "failed"
    assert stored["outputs"] == {"output": [1]}


def test_a_model_run_shows_its_tokens_and_cost(sent: Sent) -> None:
    for run in sent.named("ChatModel"):
        stored = sent.store.run(run["id"])
        tokens = (stored["prompt_tokens"], stored["completion_tokens"], stored["total_tokens"])
        assert tokens == (27, 13, 40)
        assert float(stored["total_cost"]) == pytest.approx(0.0053)


def test_traces_of_one_conversation_share_its_thread(sent: Sent) -> None:
    turns = [run for run in sent.named("agent") if run["project"] == sent.project]
    assert [sent.store.run(run["id"])["thread_id"] for run in turns] == ["thread-café-1"] * 2


def test_a_run_without_a_trace_id_belongs_to_the_trace_of_its_parent(sent: Sent) -> None:
    (parent,), (child,) = sent.named("direct"), sent.named("direct child")
    assert sent.store.run(child["id"])["trace_id"] == parent["id"]


def test_traces_of_many_threads_do_not_mix(sent: Sent) -> None:
    workers = sent.named("worker")
    assert len(workers) == 24
    for run in workers:
        tree = sent.store.hierarchy(run["id"])["hierarchy"]
        steps = [sent.store.run(child["id"])["inputs"] for child in tree["children"]]
        assert steps == [{"worker": run["inputs"]["worker"], "number": number} for number in range(2)]
