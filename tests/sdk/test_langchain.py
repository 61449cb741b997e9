"""LangChain and LangGraph: the shape of their traces, their tokens, and how an interrupted graph goes on."""

from typing import Any

import pytest

from tests.sdk.conftest import Sent
from tests.sdk.environments import LANGCHAIN_CLIENTS

pytestmark = pytest.mark.parametrize("client_name", LANGCHAIN_CLIENTS)

Shape = tuple[str, str, list[Any]]

ASKED: Shape = ("ask", "chain", [
    ("ChatPromptTemplate", "prompt", []),
    ("ScriptedChatModel", "llm", []),
    ("StrOutputParser", "parser", []),
])  # fmt: skip
PLANNED: Shape = ("plan", "chain", [("go_on_or_end", "chain", [])])


def shape(node: dict[str, Any]) -> Shape:
    return (node["name"], node["run_type"], [shape(child) for child in node["children"]])


def shapes(sent: Sent, name: str) -> list[Shape]:
    return [shape(sent.store.hierarchy(run["id"])["hierarchy"]) for run in sent.named(name)]


def test_a_chain_shows_its_steps_in_order(sent: Sent) -> None:
    assert shapes(sent, "ask") == [ASKED]
    assert shapes(sent, "batched") == [("batched", *ASKED[1:])] * 4
    assert shapes(sent, "streamed") == [("streamed", *ASKED[1:])]
    assert shapes(sent, "awaited") == [("awaited", *ASKED[1:])]


def test_an_agent_shows_its_models_and_tools_in_order(sent: Sent) -> None:
    thought: Shape = ("model", "chain", [("ScriptedChatModel", "llm", [])])
    used: Shape = ("tools", "chain", [("multiply", "tool", [])])
    assert shapes(sent, "calculator") == [("calculator", "chain", [thought, used, thought])]


def test_a_graph_shows_the_nodes_that_its_edges_led_to(sent: Sent) -> None:
    acted: Shape = ("second", "chain", [("ScriptedChatModel", "llm", [])])
    assert shapes(sent, "graph of act") == [("graph of act", "chain", [PLANNED, acted])]
    assert shapes(sent, "cut short") == [("cut short", "chain", [PLANNED])]


def test_a_traceable_function_takes_its_place_inside_a_chain(sent: Sent) -> None:
    assert shapes(sent, "around") == [("around", "chain", [("traced inside", "chain", [])])]


def test_every_model_run_that_answered_shows_its_tokens(sent: Sent) -> None:
    answered = [run for run in sent.named("ScriptedChatModel") if not run["error"]]
    stored = [sent.store.run(run["id"]) for run in answered]
    counts = {(run["prompt_tokens"], run["completion_tokens"], run["total_tokens"]) for run in stored}
    assert counts == {(11, 5, 16)}


def test_a_stream_that_names_its_inputs_late_has_them(sent: Sent) -> None:
    (run,) = sent.named("streamed")
    stored = sent.store.run(run["id"])
    assert stored["inputs"] == {"question": "Streamed?"}
    assert stored["outputs"]["output"].strip() == "Bonjour 👋, 你好"


def test_a_failure_shows_on_every_level_that_it_passed(sent: Sent) -> None:
    for name, reason in (("failing chain", "the model is out"), ("graph of give_up", "the node gave up")):
        (root,) = sent.named(name)
        last = sent.store.hierarchy(root["id"])["hierarchy"]["children"][-1]
        for run_id in (root["id"], last["id"]):
            stored = sent.store.run(run_id)
            assert stored["status"] == "failed"
            assert reason in stored["error"]


def test_an_interrupted_graph_and_its_continuation_share_a_thread(sent: Sent) -> None:
    runs = sent.named("graph of ask")
    asked, resumed = (sent.store.run(run["id"]) for run in runs)
    assert asked["thread_id"] == resumed["thread_id"]
    assert (asked["status"], resumed["status"]) == ("completed", "completed")
    first, second = (sent.store.hierarchy(run["id"])["hierarchy"]["children"] for run in (asked, resumed))
    assert [(node["name"], node["status"]) for node in first] == [("plan", "completed"), ("second", "failed")]
    assert [(node["name"], node["status"]) for node in second] == [("second", "completed")]
    assert sent.store.run(first[-1]["id"])["error"].startswith("GraphInterrupt(")
    assert resumed["outputs"]["steps"] == ["planned", "yes"]
