"""What only the JavaScript SDK sends, or sends in ways of its own."""

import pytest

from tests.sdk.comparison import instant
from tests.sdk.conftest import Sent
from tests.sdk.environments import JS_CLIENTS

pytestmark = pytest.mark.parametrize("client_name", JS_CLIENTS)


def test_the_installed_sdk_is_the_one_that_is_meant(sent: Sent, client_name: str) -> None:
    assert sent.sdk == client_name.replace("langsmith-js-", "langsmith-js/")


def test_an_error_is_kept_with_its_message(sent: Sent) -> None:
    for run in sent.named("fail"):
        assert "品切れ" in sent.store.run(run["id"])["error"]


def test_a_stream_keeps_its_chunks_and_when_they_came(sent: Sent) -> None:
    (run,) = sent.named("stream")
    stored = sent.store.run(run["id"])
    assert [chunk["chunk"] for chunk in stored["outputs"]["outputs"]] == [0, 1, 2, 3]
    assert [event["name"] for event in stored["events"]] == ["new_token"] * 4


def test_an_end_in_milliseconds_is_the_moment_that_was_meant(sent: Sent) -> None:
    for run in sent.named("worker"):
        stored = sent.store.run(run["id"])
        assert 0 < (instant(stored["end_time"]) - instant(stored["start_time"])).total_seconds() < 60


def test_traces_of_one_conversation_share_its_thread(sent: Sent) -> None:
    assert [sent.store.run(run["id"])["thread_id"] for run in sent.named("agent")] == ["thread-café-js"] * 2


def test_concurrent_traces_do_not_mix(sent: Sent) -> None:
    workers = sent.named("worker")
    assert len(workers) == 24
    for run in workers:
        tree = sent.store.hierarchy(run["id"])["hierarchy"]
        arguments = [sent.store.run(child["id"])["inputs"]["args"] for child in tree["children"]]
        assert sorted(arguments) == [[run["inputs"]["input"], number] for number in range(2)]
