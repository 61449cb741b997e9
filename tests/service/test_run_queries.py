"""Queries of runs through LangSmith's API: pages, filters, fields, sums and conversations."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import orjson
import pytest

from events import log
from projections.filters.syntax import InvalidFilter
from service import run_queries
from tests.fuzz.garbling import garbled
from tests.plans import recording, whole_reads
from tests.service.apps import Store, a_run, an_ended_run, json_part, new_id


def llm(tokens: int, cost: float | None = None, **members: Any) -> dict[str, Any]:
    """A run of a model that tells its usage."""
    usage = {"input_tokens": tokens - 1, "output_tokens": 1} | ({} if cost is None else {"total_cost": cost})
    return an_ended_run(run_type="llm", extra={"metadata": {"usage_metadata": usage}}, **members)


def at(minute: int) -> str:
    return f"2024-01-15T{10 + minute // 60:02}:{minute % 60:02}:00Z"


async def query(store: Store, **body: Any) -> dict[str, Any]:
    answer = await store.client.post("/runs/query", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ids(store: Store, **body: Any) -> list[str]:
    return [run["id"] for run in (await query(store, **body))["runs"]]


async def project_of(store: Store, run: Mapping[str, Any]) -> str:
    return str((await store.run(run["id"]))["session_id"])


async def walked(store: Store, **body: Any) -> list[str]:
    """The ids of all runs, page by page."""
    found: list[str] = []
    page = await query(store, **body)
    while True:
        found += [run["id"] for run in page["runs"]]
        if page["cursors"]["next"] is None:
            return found
        assert page["runs"]
        page = await query(store, **(body | {"cursor": page["cursors"]["next"]}))


# --- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_tell_every_run_once_in_order(store: Store, order: str) -> None:
    # Half of them start at once, so that the id has to decide.
    sent = [a_run(start_time=at(0 if number % 2 else number), session_name="p") for number in range(23)]
    await store.post(*sent)
    expected = sorted(sent, key=lambda run: (run["start_time"], run["id"]), reverse=order == "desc")
    for extra in ({}, {"filter": 'search("planning")'}, {"filter": 'has(tags, ",")', "error": True}):
        wanted = [] if "error" in extra else [run["id"] for run in expected]
        assert await walked(store, limit=5, order=order, select=["name"], **extra) == wanted


async def test_runs_that_come_meanwhile_neither_hide_nor_double_others(store: Store) -> None:
    sent = [a_run(start_time=at(number)) for number in range(10)]
    await store.post(*sent)
    first = await query(store, limit=4)
    await store.post(*(a_run(start_time=at(number)) for number in (0, 3, 8, 20)))
    rest = await walked(store, limit=4, cursor=first["cursors"]["next"])
    told = [*(run["id"] for run in first["runs"]), *rest]
    assert len(set(told)) == len(told)
    assert {run["id"] for run in sent} <= set(told)


async def test_a_page_holds_a_hundred_however_many_are_asked_for(store: Store) -> None:
    await store.post(*(a_run() for _ in range(105)))
    page = await query(store, limit=5000, select=["name"])
    assert len(page["runs"]) == run_queries.PAGE_RUNS_MAX == 100
    assert len(await walked(store, limit=5000, select=["name"])) == 105


async def test_a_page_ends_before_it_grows_too_large(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [a_run(start_time=at(number), inputs={"x": "y" * 3000}) for number in range(5)]
    await store.post(*sent)
    monkeypatch.setattr(run_queries, "PAGE_BYTES_MAX", 7000)
    for select in (["inputs"], ["inputs", "extra"]):
        page = await query(store, select=select)
        assert 1 <= len(page["runs"]) < 5
        assert await walked(store, select=select) == [run["id"] for run in reversed(sent)]
    monkeypatch.setattr(run_queries, "PAGE_BYTES_MAX", 1)
    assert len((await query(store, select=["inputs"]))["runs"]) == 1
    assert len((await query(store, select=["name"]))["runs"]) == 5


async def test_pagination_can_be_left_out(store: Store) -> None:
    await store.post(a_run(), a_run())
    assert (await query(store, limit=1, skip_pagination=True))["cursors"] == {"next": None, "prev": None}


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "é", "A" * 34])
async def test_a_cursor_of_nothing_is_refused(store: Store, cursor: str) -> None:
    answer = await store.client.post("/runs/query", json={"cursor": cursor, "order": "desc"})
    assert answer.status_code == (200 if cursor == "A" * 34 else 422)


async def test_a_cursor_of_the_other_order_is_refused(store: Store) -> None:
    await store.post(a_run(), a_run())
    cursor = (await query(store, limit=1))["cursors"]["next"]
    answer = await store.client.post("/runs/query", json={"cursor": cursor, "order": "asc"})
    assert answer.status_code == 422
    assert "in the other order" in answer.json()["detail"]


# --- which runs -------------------------------------------------------------------------------------------------------


async def test_each_member_of_the_body_filters(store: Store) -> None:
    example = new_id()
    root = an_ended_run(session_name="one", start_time=at(0))
    below = {"parent_run_id": root["id"], "trace_id": root["id"]}
    child = a_run(session_name="one", **below, error="boom", run_type="tool", start_time=at(5))
    other = a_run(session_name="two", reference_example_id=example, start_time=at(9))
    await store.post(root, child, other)
    one, two = await project_of(store, root), await project_of(store, other)
    everything = [other["id"], child["id"], root["id"]]
    assert await ids(store) == everything
    assert await ids(store, session=[one]) == everything[1:]
    assert await ids(store, session=[two, one, two], limit=2) == everything[:2]
    assert await ids(store, session=[new_id()]) == []
    assert await ids(store, id=[other["id"], root["id"]], is_root=False) == [other["id"], root["id"]]
    assert await ids(store, trace=root["id"]) == everything[1:]
    assert await ids(store, parent_run=root["id"]) == [child["id"]]
    assert await ids(store, run_type="tool") == [child["id"]]
    assert await ids(store, reference_example=[example]) == [other["id"]]
    assert await ids(store, is_root=1) == [other["id"], root["id"]]
    assert await ids(store, execution_order=1) == [other["id"], root["id"]]
    assert await ids(store, execution_order=1, is_root=False) == await ids(store, execution_order=2) == []
    assert await ids(store, is_root=False) == [child["id"]]
    assert await ids(store, error=True) == [child["id"]]
    assert await ids(store, error=False) == [other["id"], root["id"]]
    assert await ids(store, start_time=at(5)) == everything[:2]
    assert await ids(store, end_time=at(5)) == everything[1:]
    assert await ids(store, query="BOOM") == [child["id"]]
    assert await ids(store, filter='eq(run_type, "chain")', search_filter=f'eq(id, "{root["id"]}")') == [root["id"]]
    assert await ids(store, trace_filter='eq(status, "success")') == everything[1:]
    assert await ids(store, tree_filter='eq(run_type, "tool")') == everything[1:]
    assert await ids(store, start_time=None, filter="", session=None, unheard_of=1) == everything


async def test_a_filter_looks_into_what_rows_hold_only_the_beginning_of(store: Store) -> None:
    long, error = "x" * 300, "e" * 600 + " ValueError"
    told = {f"k{number:03}": number for number in range(100)} | {"long": long, "z" * 150: 1, "zz": "last"}
    run = a_run(extra={"metadata": told}, error=error, inputs=[1, "needle"])
    await store.post(run, a_run())
    for text in (
        f'and(eq(metadata_key, "long"), eq(metadata_value, "{long}"))',
        f'eq(metadata_value, "{long}")',
        f'and(eq(metadata_key, "long"), neq(metadata_value, "{long}y"))',
        f'exists(metadata, "{"z" * 150}")',
        'and(eq(metadata_key, "zz"), eq(metadata_value, "last"))',
        "has(metadata, '{\"k099\": 99}')",
        'search("valueerror")',
        'search(error, "ValueError")',
        'eq(input_value, "needle")',
    ):
        assert await ids(store, filter=text) == [run["id"]], text
    for text in (
        f'and(eq(metadata_key, "long"), eq(metadata_value, "{long[:200]}"))',
        f'and(eq(metadata_key, "long"), eq(metadata_value, "{long}y"))',
        'has(metadata, \'{"k099": "99"}\')',
        'and(eq(metadata_key, "zz"), eq(metadata_value, "first"))',
    ):
        assert await ids(store, filter=text) == [], text


async def test_a_filter_looks_into_inputs_that_are_too_large_for_the_log(store: Store) -> None:
    body = {"big": "x" * 12_000_000, "word": "needle"}
    run = a_run(inputs=body)
    await store.post(run, a_run())
    assert "offloaded" in await store.run(run["id"])
    text = 'and(eq(input_key, "word"), eq(input_value, "needle"))'
    assert await ids(store, filter=text, select=["id"]) == [run["id"]]


async def test_numbers_of_any_size_are_compared(store: Store) -> None:
    run = an_ended_run()
    await store.post(run)
    for name in ("latency", "total_tokens", "total_cost", "execution_order", "start_time", "feedback_score"):
        for number in ("3600.000001", "1e12", "-1e30", "9e300"):
            value = number if name != "start_time" else '"9999-12-31T23:59:59Z"'
            for operator in ("eq", "gt", "lte"):
                await ids(store, filter=f"{operator}({name}, {value})")
    assert await ids(store, filter="lt(latency, 1e12)") == [run["id"]]


async def test_metadata_of_a_patch_counts(store: Store) -> None:
    run = a_run(extra={"metadata": {"a": 1, "b": 1}})
    await store.post(run)
    await store.patch({"id": run["id"], "extra": {"metadata": {"a": 2, "c": 3, "b": None}}})
    for text, found in (("a", "2"), ("b", "1"), ("c", "3")):
        pair = f'and(eq(metadata_key, "{text}"), eq(metadata_value, "{found}"))'
        assert await ids(store, filter=pair) == [run["id"]]
    assert await ids(store, filter='and(eq(metadata_key, "a"), eq(metadata_value, 1))') == []


async def test_an_erased_trace_is_found_no_more(store: Store) -> None:
    run = a_run(extra={"metadata": {"secret": "yes"}})
    await store.post(run)
    erased = await store.client.delete(f"/traces/{run['id']}", params={"reason": "asked"})
    assert erased.status_code < 300, erased.text
    assert await ids(store, filter='exists(metadata, "secret")') == []
    assert "secret" not in repr((await store.dump())["runs"])


# --- what is wrong ----------------------------------------------------------------------------------------------------


async def test_a_filter_that_cannot_be_read_is_refused_with_its_name_and_the_place(store: Store) -> None:
    for name in ("filter", "trace_filter", "tree_filter", "search_filter"):
        answer = await store.client.post("/runs/query", json={name: "eq(nome, 1)"})
        assert answer.status_code == 400
        detail = answer.json()["detail"]
        assert detail.startswith(f"{name} cannot be read: expected a field: one of id, trace_id")
        assert "at character 4, found 'nome, 1)'" in detail


@pytest.mark.parametrize(
    "body",
    [
        {"session": ["x"]},
        {"id": [1]},
        {"start_time": "soon"},
        {"limit": 0},
        {"order": "up"},
        {"select": "name"},
        {"is_root": "perhaps"},
        {"filter": 1},
        [],
    ],
)
async def test_a_member_that_does_not_fit_is_refused(store: Store, body: Any) -> None:
    answer = await store.client.post("/runs/query", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]


async def test_no_filter_is_ever_the_servers_fault_and_none_changes_anything(store: Store) -> None:
    await store.post(an_ended_run(tags=["a"], extra={"metadata": {"k": "v"}}), llm(3))
    await store.send_parts(json_part(f"feedback.{new_id()}", {"key": "k", "score": 1}))
    before = await store.dump()
    for number, text in enumerate(garbled(Random(1), 400)):
        name = ("filter", "trace_filter", "tree_filter")[number % 3]
        body = orjson.dumps({name: text.encode("utf-8", "replace").decode(), "limit": 2})
        answer = await store.client.post("/runs/query", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 400), (text, answer.text)
    assert await store.dump() == before


def test_garbled_filters_are_of_both_kinds() -> None:
    texts = garbled(Random(1), 400)
    refused = 0
    for text in texts:
        try:
            run_queries.condition("filter", text)
        except InvalidFilter:
            refused += 1
    assert 50 < refused < len(texts) - 20


# --- which fields -----------------------------------------------------------------------------------------------------


async def test_only_what_is_selected_is_told(store: Store) -> None:
    await store.post(an_ended_run())
    always = {"id", "name", "run_type", "status", "start_time", "trace_id", "session_id", "parent_run_id"}
    (run,) = (await query(store, select=["inputs", "nothing of this name"]))["runs"]
    assert run.keys() == always | {"inputs"}


async def test_payloads_that_were_not_selected_are_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.post(an_ended_run(tags=["a"]))

    async def read(*_: object, **__: object) -> None:
        raise AssertionError("a payload was read")

    monkeypatch.setattr("projections.details.read_streams", read)
    monkeypatch.setattr("projections.details.read_at", read)
    (run,) = (await query(store, select=["tags", "end_time", "total_tokens", "feedback_stats", "app_path"]))["runs"]
    assert run["tags"] == ["a"]


async def test_inputs_alone_are_read_without_the_rest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(inputs={"q": 1})
    await store.post(run)
    await store.patch({"id": run["id"], "outputs": {"a": 2}})
    read: list[int] = []
    read_at = log.read_at

    async def noted(connection: Any, positions: Sequence[int], **more: Any) -> Any:
        read.extend(positions)
        return await read_at(connection, positions, **more)

    monkeypatch.setattr("projections.details.read_at", noted)
    (found,) = (await query(store, select=["inputs"]))["runs"]
    assert found["inputs"] == {"q": 1}
    assert len(read) == 1


async def test_every_field_is_told_as_when_the_run_is_read_alone(store: Store) -> None:
    root, usage = an_ended_run(), {"total_tokens": 3, "input_token_details": {"audio": 1}}
    run = an_ended_run(
        parent_run_id=root["id"],
        tags=["a"],
        events=[{"name": "new_token", "time": at(1)}],
        extra={"metadata": {"thread_id": "t", "usage_metadata": usage}},
        serialized={"lc": 1},
        error="boom",
    )
    await store.post(root, run)
    await store.send_parts((f"attachment.{run['id']}.a", b"data", "text/plain"))
    await store.client.post("/feedback", json={"key": "k", "run_id": run["id"], "score": 0.5})
    (found,) = (await query(store, id=[run["id"]]))["runs"]
    alone = await store.run(run["id"], status_words="langsmith")
    shared = found.keys() & alone.keys() - {"s3_urls"}
    assert {name: found[name] for name in shared} == {name: alone[name] for name in shared}
    assert len(shared) > 25
    assert found["parent_run_ids"] == [root["id"]]
    assert found["s3_urls"].keys() == {"attachment.a"}
    assert found["prompt_token_details"] == {"audio": 1}
    assert found["feedback_stats"]["k"]["avg"] == 0.5
    assert "s3_urls" not in (await query(store, id=[root["id"]]))["runs"][0]


# --- sums -------------------------------------------------------------------------------------------------------------


async def a_trace(store: Store) -> tuple[str, str]:
    """A root, a step, a model run with another inside, and a model run beside it: 10 and 5 tokens count."""
    root = an_ended_run(session_name="p", tags=["root"])
    step = an_ended_run(session_name="p", parent_run_id=root["id"], trace_id=root["id"])
    upper = llm(10, 0.5, session_name="p", parent_run_id=step["id"], trace_id=root["id"])
    inner = llm(10, 0.5, session_name="p", parent_run_id=upper["id"], trace_id=root["id"])
    beside = llm(5, session_name="p", parent_run_id=root["id"], trace_id=root["id"], error="boom")
    await store.post(inner, beside, upper, step, root)
    return root["id"], step["id"]


async def test_tokens_and_cost_are_summed_over_the_tree_and_nothing_twice(store: Store) -> None:
    root, step = await a_trace(store)
    shown = {run["id"]: run for run in (await query(store, select=["total_tokens", "total_cost"]))["runs"]}
    assert (shown[root]["total_tokens"], shown[root]["total_cost"]) == (15, "0.5")
    assert (shown[step]["total_tokens"], shown[step]["total_cost"]) == (10, "0.5")
    assert (await store.run(root, status_words="langsmith"))["total_tokens"] == 15
    assert (await store.run(root))["total_tokens"] is None
    assert await ids(store, filter='and(eq(run_type, "chain"), gt(total_tokens, 12))') == [root]


async def test_a_run_above_no_model_run_shows_its_own_usage(store: Store) -> None:
    run = an_ended_run(extra=llm(7)["extra"])
    below = an_ended_run(parent_run_id=run["id"], run_type="tool")
    await store.post(run, below)
    shown = {one["id"]: one["total_tokens"] for one in (await query(store, select=["total_tokens"]))["runs"]}
    assert shown == {run["id"]: 7, below["id"]: None}


async def test_the_usage_of_runs_in_a_cycle_ends(store: Store) -> None:
    one, other = new_id(), new_id()
    await store.post(a_run(id=one, parent_run_id=other), a_run(id=other, parent_run_id=one), llm(3, parent_run_id=one))
    shown = {run["id"]: run["total_tokens"] for run in (await query(store, select=["total_tokens"]))["runs"]}
    assert (shown[one], shown[other]) == (3, 3)


async def test_runs_are_summed_up(store: Store) -> None:
    root, _ = await a_trace(store)
    await store.client.post("/feedback", json={"key": "k", "run_id": root, "score": 1})
    project = (await store.run(root))["session_id"]

    async def stats(**body: Any) -> dict[str, Any]:
        answer = await store.client.post("/runs/stats", json={"session": [project], **body})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    whole = await stats()
    assert (whole["run_count"], whole["total_tokens"], whole["total_cost"], whole["error_rate"]) == (5, 15, "0.5", 0.2)
    assert whole["latency_p50"] == pytest.approx(5, rel=1 / 64)
    assert whole["feedback_stats"]["k"]["n"] == 1
    roots = await stats(is_root=True)
    assert (roots["run_count"], roots["total_tokens"]) == (1, 15)
    none = await stats(filter='has(tags, "nobody")')
    assert (none["run_count"], none["latency_p50"], none["error_rate"]) == (0, None, None)


def of_thread(name: str, said: str) -> dict[str, Any]:
    return {"session_name": "p", "extra": {"metadata": {"thread_id": name}}, "inputs": {"input": said}}


async def test_conversations_are_summed_up_the_newest_first(store: Store) -> None:
    first = an_ended_run(start_time=at(0), end_time=at(1), **of_thread('say "a"', "hello"))
    second = an_ended_run(start_time=at(5), end_time=at(6), **of_thread('say "a"', "again"))
    other = a_run(start_time=at(3), error="boom", **of_thread("b", "other"))
    await store.post(first, second, other, a_run(session_name="p"), llm(9, parent_run_id=first["id"], session_name="p"))
    project = await project_of(store, first)
    answer = await store.client.post("/runs/group", json={"session_id": project, "group_by": "conversation"})
    groups = answer.json()
    assert groups["total"] == 2
    newest, older = groups["groups"]
    assert (newest["thread_id"], newest["count"], newest["total_tokens"]) == ('say "a"', 2, 9)
    assert (newest["min_start_time"], newest["max_start_time"]) == (at(0), at(5))
    assert (newest["first_inputs"], newest["last_outputs"]) == ("hello", "b")
    assert (older["thread_id"], older["last_error"]) == ("b", "boom")
    assert await ids(store, filter=newest["filter"], is_root=True) == [second["id"], first["id"]]
    page = await store.client.post("/runs/group", json={"session_id": project, "limit": 1, "offset": 1})
    assert page.json() == {"groups": [older], "total": 2}


# --- plans ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"is_root": True},
        {"start_time": at(0), "end_time": at(9), "filter": 'and(eq(run_type, "llm"), has(tags, "a"))'},
        {"filter": 'and(eq(metadata_key, "k"), eq(metadata_value, "v"))', "trace_filter": 'eq(name, "x")'},
        {"filter": "gt(total_tokens, 5)", "tree_filter": 'eq(feedback_key, "k")'},
        {"filter": 'search("x")'},
    ],
)
async def test_a_query_of_a_project_reads_no_whole_table(store: Store, more: dict[str, Any]) -> None:
    run = an_ended_run(inputs={"x": 1})
    await store.post(run)
    project = await project_of(store, run)
    with recording(store.engine) as queries:
        await query(store, session=[project], **more)
        await query(store, session=[project, new_id()], **more)
        await query(store, trace=run["id"], **more)
        await query(store, parent_run=run["id"], **more)
    assert len(queries.asked) > 4
    assert await whole_reads(store.engine, queries, "runs", "events", "feedback", "attachments") == []
