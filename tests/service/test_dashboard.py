"""The dashboard's reads: the list of traces, a trace as a tree, and the numbers."""

import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from events.times import format_time, parse_time
from projections import rollup
from projections.runs import RunState
from tests.service.apps import END, START, Store, a_run, an_ended_run, json_part, new_id

HOUR_US = 3_600_000_000
MEGABYTE = 2**20


def names(page: dict[str, Any]) -> list[str]:
    return [run["name"] for run in page["runs"]]


def at(minute: int) -> str:
    return f"2024-01-15T10:{minute:02}:00Z"


@pytest.fixture
async def listed(store: Store) -> Store:
    """A store with six traces, each of its own name; `a` started first."""
    await store.post(
        a_run(name="a", start_time=at(1), session_name="one"),
        an_ended_run(name="b", start_time=at(2), session_name="one"),
        an_ended_run(name="c", start_time=at(3), project_name="one", error="boom"),
        an_ended_run(name="d", start_time=at(4), session_name="two"),
        a_run(name="e", start_time=at(5)),
        a_run(name="f", start_time=at(6), parent_run_id=(root := new_id()), trace_id=root),
        a_run(id=root, name="F", start_time=at(6)),
    )
    return store


async def test_traces_are_listed_newest_first_and_children_are_not(listed: Store) -> None:
    page = await listed.roots()
    assert names(page) == ["F", "e", "d", "c", "b", "a"]
    assert {key: page[key] for key in ("total", "limit", "offset", "has_more")} == {
        "total": 6,
        "limit": 50,
        "offset": 0,
        "has_more": False,
    }


async def test_every_filter_leaves_what_it_says(listed: Store) -> None:
    for query, expected in (
        ({"project": "one"}, "cba"),
        ({"project_name": "one"}, "cba"),
        ({"project": "one", "project_name": "one"}, "cba"),
        ({"project": "one", "project_name": "two"}, ""),
        ({"project": "default"}, "Fe"),
        ({"project": "ONE"}, ""),
        ({"project": "on"}, ""),
        ({"project": "nobody's"}, ""),
        ({"status": "completed"}, "db"),
        ({"status": "failed"}, "c"),
        ({"status": "running"}, "Fea"),
        ({"status": "success"}, "db"),
        ({"status": "error"}, "c"),
        ({"status": "pending"}, "Fea"),
        ({"status": "COMPLETED"}, "db"),
        ({"search": "f"}, "F"),
        ({"search": "F"}, "F"),
        ({"search": "%"}, ""),
        ({"search": "_"}, ""),
        ({"start_time_gte": at(4)}, "Fed"),
        ({"start_time_lte": at(2)}, "ba"),
        ({"start_time_gte": at(2), "start_time_lte": at(3)}, "cb"),
        ({"start_time_gte": at(3), "start_time_lte": at(2)}, ""),
        ({"start_time_gte": "1705313040000"}, "Fed"),
        ({"project": "one", "status": "completed", "search": "B", "start_time_lte": at(9)}, "b"),
        (
            {name: "" for name in ("project", "project_name", "status", "search", "limit", "offset", "preview")},
            "Fedcba",
        ),
        ({"start_time_gte": "", "start_time_lte": ""}, "Fedcba"),
    ):
        page = await listed.roots(**query)
        assert "".join(names(page)) == expected, query
        assert (page["total"], page["has_more"]) == (len(expected), False), query


async def test_a_zone_whose_plus_was_not_escaped_is_understood(listed: Store) -> None:
    for zone in ("+02:00", "%2B02:00", "+0200", "%2002:00"):
        page = await listed.get(f"/dashboard/runs/roots?start_time_gte=2024-01-15T12:05:00{zone}")
        assert names(page) == ["F", "e"], zone


async def test_pages_follow_each_other_without_gap_or_repetition(listed: Store) -> None:
    for limit in range(1, 8):
        found: list[str] = []
        while True:
            page = await listed.roots(limit=limit, offset=len(found))
            found += names(page)
            assert (page["total"], page["limit"]) == (6, limit)
            assert page["has_more"] == (len(found) < 6)
            if not page["has_more"]:
                break
        assert found == ["F", "e", "d", "c", "b", "a"]
    beyond = await listed.roots(offset=2**62)
    assert (names(beyond), beyond["total"], beyond["has_more"]) == ([], 6, False)


async def test_pages_by_cursor_neither_skip_nor_repeat_while_others_come(store: Store) -> None:
    runs = [a_run(name=str(number), start_time=at(number % 4)) for number in range(30)]
    await store.post(*runs)
    whole = names(await store.roots())
    for limit in (1, 7, 30):
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page = await store.roots(limit=limit, after=after)
            found += names(page)
            after = page["next"]
            assert page["has_more"] == (after is not None)
            await store.post(a_run(name="newer", start_time=at(30)))
        assert [name for name in found if name != "newer"] == whole
        assert len(found) - found.count("newer") == 30


async def test_a_word_that_is_no_cursor_of_traces_is_refused_with_a_sentence(listed: Store) -> None:
    cursor_of_the_log = (await listed.get("/events?limit=1"))["events"][0]["cursor"]
    for wrong in ("x", "\0", "é", cursor_of_the_log, "A" * 33):
        answer = await listed.client.get("/dashboard/runs/roots", params={"after": wrong})
        assert answer.status_code == 422, wrong
        assert "is no cursor of traces" in answer.json()["detail"]


async def test_traces_of_one_start_keep_their_order_across_pages(store: Store) -> None:
    runs = [a_run(name=str(number)) for number in range(20)]
    await store.post(*runs)
    whole = names(await store.roots())
    paged = [names(await store.roots(limit=1, offset=offset))[0] for offset in range(20)]
    assert paged == whole
    assert sorted(whole) == sorted(run["name"] for run in runs)


async def test_a_parameter_that_cannot_be_used_is_a_422_with_a_sentence(store: Store) -> None:
    for name, wrong, sentence in (
        ("limit", "0", "greater than or equal to 1"),
        ("limit", "1001", "less than or equal to 1000"),
        ("limit", "-1", "greater than or equal to 1"),
        ("limit", "9" * 400, "less than or equal to 1000"),
        ("limit", "9" * 5000, "integer"),
        ("limit", "ten", "integer"),
        ("limit", "1.5", "integer"),
        ("offset", "-1", "greater than or equal to 0"),
        ("offset", "9" * 30, "less than or equal to"),
        ("status", "done", "expected running, completed or failed"),
        ("status", "\0", "expected running, completed or failed"),
        ("start_time_gte", "yesterday", "expected a time such as"),
        ("start_time_lte", "2024-13-01", "expected a time such as"),
        ("start_time_lte", "9" * 30, "expected a time such as"),
        ("start_time_lte", "10000-01-01T00:00:00Z", "expected a time such as"),
        ("preview", "maybe", "boolean"),
    ):
        answer = await store.client.get("/dashboard/runs/roots", params={name: wrong})
        assert answer.status_code == 422, (name, wrong)
        (problem,) = answer.json()["detail"]
        assert problem["loc"] == ["query", name]
        assert sentence in problem["msg"], (name, wrong)
    for limit in (1, 1000):
        assert (await store.roots(limit=limit))["limit"] == limit


async def test_hostile_texts_in_filters_find_nothing_and_break_nothing(listed: Store) -> None:
    for text in ("%00", "a%00", "%FF%FE", "%ED%A0%80", "'%22;--", "x" * 20_000, "%F0%9F%92%A5", "%5C", "[a]", "*"):
        for name in ("search", "project", "project_name"):
            page = await listed.get(f"/dashboard/runs/roots?{name}={text}")
            assert page["total"] == 0, (name, text)


async def test_a_search_is_literal_and_knows_no_case_in_any_script(store: Store) -> None:
    runs = ["Straße 100%", "ΣΊΣΥΦΟΣ", "snake_case", "back\\slash", "naïve", "", "nul\0byte", "x" * 600 + "end"]
    await store.post(*(a_run(name=name) for name in runs))
    for search, found in (
        ("STRASSE", [0]),
        ("100%", [0]),
        ("σίσυφος", [1]),
        ("E_C", [2]),
        ("k\\S", [3]),
        ("NAÏVE", [4]),
        ("nul\0byte", [6]),
        ("X" * 500, [7]),
    ):
        page = await store.roots(search=search)
        assert [name[:500].replace("\0", "\ufffd") for name in map(runs.__getitem__, found)] == names(page), search
        assert page["total"] == len(found)


async def test_a_search_keeps_to_the_project_that_is_asked_for(store: Store) -> None:
    await store.post(a_run(name="same", session_name="one"), a_run(name="same", session_name="two"))
    page = await store.roots(search="same", project="one")
    assert [run["project_name"] for run in page["runs"]] == ["one"]
    assert page["total"] == 1


async def test_a_page_of_previews_gives_texts(listed: Store) -> None:
    page = await listed.roots(preview="true", status="completed")
    for run in page["runs"]:
        assert (run["is_preview"], run["inputs"], run["outputs"]) == (True, "a", "b")
    assert [run["is_preview"] for run in (await listed.roots(status="running", preview="1"))["runs"]] == [False] * 3


def usage(tokens: int, cost: float) -> dict[str, Any]:
    return {"metadata": {"usage_metadata": {"total_tokens": tokens, "total_cost": cost}}}


async def test_a_page_tells_what_whole_traces_used_when_asked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    root, step, alone, nothing, root_that_never_came = (new_id() for _ in range(5))
    models = {"run_type": "llm", "trace_id": root}
    await store.post(
        an_ended_run(id=root, start_time=at(4)),
        an_ended_run(id=step, **models, parent_run_id=root, extra=usage(10, 0.5)),
        an_ended_run(**models, parent_run_id=step, extra=usage(10, 0.5)),
        an_ended_run(**models, parent_run_id=root, extra=usage(5, 0.25)),
        an_ended_run(id=alone, start_time=at(3), run_type="llm", extra=usage(7, 0)),
        an_ended_run(id=nothing, start_time=at(2)),
        an_ended_run(
            trace_id=root_that_never_came,
            parent_run_id=root_that_never_came,
            start_time=at(1),
            run_type="llm",
            extra=usage(2, 1),
        ),
    )
    asked: list[int] = []
    totals_of = rollup.totals_of

    async def counted(connection: AsyncConnection, states: Sequence[RunState]) -> dict[bytes, rollup.Totals]:
        asked.append(len(states))
        return await totals_of(connection, states)

    monkeypatch.setattr(rollup, "totals_of", counted)
    page = await store.roots(trace_totals="true")
    assert [(run["trace_total_tokens"], run["trace_total_cost"]) for run in page["runs"]] == [
        (15, "0.75"),
        (7, "0"),
        (None, None),
        (2, "1"),
    ]
    assert [run["total_tokens"] for run in page["runs"][:3]] == [None, 7, None]
    assert asked == [4]
    assert not any("trace_total_tokens" in run for run in (await store.roots(trace_totals=""))["runs"])
    assert asked == [4]


async def test_beyond_32_megabytes_a_page_gives_marked_previews(store: Store) -> None:
    for number in range(5):
        run = an_ended_run(name=str(number), start_time=at(number), inputs={"query": "x" * 9 * MEGABYTE})
        await store.post(run)
    page = await store.roots()
    assert [(run["name"], run["is_preview"]) for run in page["runs"]] == [
        ("4", False),
        ("3", False),
        ("2", False),
        ("1", True),
        ("0", True),
    ]
    assert len(page["runs"][0]["inputs"]["query"]) == 9 * MEGABYTE
    assert len(page["runs"][4]["inputs"]) <= 200


async def test_a_trace_whose_root_never_came_is_listed_as_such_until_it_comes(store: Store) -> None:
    root = new_id()
    child = a_run(name="child", parent_run_id=root, trace_id=root, start_time=at(5), session_name="mine")
    await store.post(child)
    (listed,) = (await store.roots(project="mine"))["runs"]
    assert (listed["id"], listed["is_root_missing"], listed["status"]) == (root, True, "running")
    await store.post(a_run(id=root, name="root", session_name="mine", start_time=at(4)))
    (listed,) = (await store.roots(project="mine"))["runs"]
    assert (listed["id"], listed["is_root_missing"], listed["name"]) == (root, False, "root")


# --- hierarchy --------------------------------------------------------------------------------------------------------


def shape(node: dict[str, Any]) -> Any:
    """A tree as names: a leaf is its name, another node a pair of its name and its children."""
    return (node["name"], [shape(child) for child in node["children"]]) if node["children"] else node["name"]


async def tree(store: Store, run_id: str) -> dict[str, Any]:
    return await store.get(f"/dashboard/runs/{run_id}/hierarchy")


async def test_runs_stand_below_their_parents_in_order_of_start_whichever_came_first(store: Store) -> None:
    ids = {name: new_id() for name in "rabcd"}
    runs = [
        a_run(id=ids["r"], name="r", start_time=at(0)),
        an_ended_run(id=ids["b"], name="b", start_time=at(2), parent_run_id=ids["r"], trace_id=ids["r"]),
        a_run(id=ids["a"], name="a", start_time=at(1), parent_run_id=ids["r"]),
        a_run(id=ids["c"], name="c", start_time=at(3), parent_run_id=ids["a"]),
        a_run(
            id=ids["d"],
            name="d",
            start_time=at(4),
            dotted_order=".".join(f"20240115T100000000000Z{ids[n]}" for n in "rad"),
        ),
    ]
    random.Random(2).shuffle(runs)
    for run in runs:
        await store.post(run)
    for asked in ids.values():
        assert (await tree(store, asked))["total_runs"] in (1, 3, 5)
    whole = await tree(store, ids["r"])
    assert shape(whole["hierarchy"]) == ("r", [("a", ["c", "d"]), "b"])
    assert (whole["root_run_id"], whole["total_runs"], whole["max_depth"]) == (ids["r"], 5, 3)
    below = await tree(store, ids["a"])
    assert shape(below["hierarchy"]) == ("a", ["c", "d"])
    assert (below["root_run_id"], below["total_runs"], below["max_depth"]) == (ids["a"], 3, 2)
    assert (await store.roots())["total"] == 1


async def test_orphans_hang_below_a_placeholder_that_is_not_counted(store: Store) -> None:
    root, missing = a_run(name="root"), new_id()
    orphans = [a_run(name=name, parent_run_id=missing, trace_id=root["id"]) for name in "xy"]
    await store.post(root, *orphans)
    whole = await tree(store, root["id"])
    (placeholder,) = whole["hierarchy"]["children"]
    assert (placeholder["id"], placeholder["is_missing"], len(placeholder["children"])) == (missing, True, 2)
    assert (whole["total_runs"], whole["max_depth"]) == (3, 3)
    await store.post(a_run(id=missing, name="late", parent_run_id=root["id"], trace_id=root["id"]))
    whole = await tree(store, root["id"])
    (late,) = whole["hierarchy"]["children"]
    assert (late["name"], late["is_missing"], whole["total_runs"]) == ("late", False, 4)


async def test_children_of_a_root_that_never_came_hang_below_its_placeholder(store: Store) -> None:
    root = new_id()
    await store.post(a_run(name="child", parent_run_id=root))
    whole = await tree(store, root)
    assert (whole["hierarchy"]["is_missing"], shape(whole["hierarchy"]["children"][0])) == (True, "child")
    assert (whole["total_runs"], whole["max_depth"]) == (1, 2)


async def test_a_cycle_is_cut_and_each_of_its_runs_appears_once(store: Store) -> None:
    for size in (1, 2, 5):
        ids = [new_id() for _ in range(size)]
        ring = [a_run(id=id_, parent_run_id=ids[place - 1], session_name=str(size)) for place, id_ in enumerate(ids)]
        await store.post(*ring)
        (listed,) = (await store.roots(project=str(size)))["runs"]
        whole = await tree(store, listed["id"])
        assert (whole["total_runs"], whole["max_depth"]) == (size, size)
        assert whole["hierarchy"]["is_cycle"] is True
        for id_ in ids:
            assert (await store.run(id_))["id"] == id_
            assert (await tree(store, id_))["root_run_id"] == id_


async def test_ten_thousand_children_are_one_tree(store: Store) -> None:
    root = a_run(name="root")
    children = [a_run(name=str(n), parent_run_id=root["id"], trace_id=root["id"]) for n in range(10_000)]
    for start in range(0, len(children), 2500):
        await store.post(*children[start : start + 2500])
    await store.post(root)
    whole = await tree(store, root["id"])
    assert (whole["total_runs"], whole["max_depth"]) == (10_001, 2)
    assert {child["name"] for child in whole["hierarchy"]["children"]} == {child["name"] for child in children}
    assert (await store.roots())["total"] == 1


async def test_a_trace_of_five_thousand_levels_is_one_tree(store: Store) -> None:
    ids = [new_id() for _ in range(5000)]
    runs = [a_run(id=id_, parent_run_id=ids[level - 1] if level else None) for level, id_ in enumerate(ids)]
    random.Random(5).shuffle(runs)
    await store.post(*runs)
    answer = await store.client.get(f"/dashboard/runs/{ids[0]}/hierarchy")
    # Too deep for a parser that recurses.
    assert answer.status_code == 200
    assert answer.text.startswith(f'{{"root_run_id":"{ids[0]}","total_runs":5000,"max_depth":5000,"hierarchy":')
    assert all(f'"id":"{id_}"' in answer.text for id_ in ids)
    below = await tree(store, ids[4900])
    assert (below["total_runs"], below["max_depth"]) == (100, 100)
    assert (await store.run(ids[-1]))["dotted_order"].count(".") == 4999


def rows_of(node: dict[str, Any], level: int = 1) -> list[dict[str, Any]]:
    """The rows of a tree from the top down, as its outline tells them."""
    names = ("id", "name", "run_type", "status", "error", "total_tokens", "total_cost")
    facts = {name: None if node["is_missing"] and name != "id" else node[name] for name in names}
    below = [row for child in node["children"] for row in rows_of(child, level + 1)]
    return [{**facts, "level": level, "start_time": node["start_time"], "end_time": node["end_time"]}, *below]


def lines_of(outline: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an outline, with times in place of distances."""
    columns = outline["runs"]
    lines = [dict(zip(columns, entries, strict=True)) for entries in zip(*columns.values(), strict=True)]
    begin = None if outline["start_time"] is None else parse_time(outline["start_time"])
    for line in lines:
        start, took = line.pop("start_us"), line.pop("duration_us")
        line["start_time"] = None if start is None else format_time((begin or 0) + start)
        line["end_time"] = None if took is None else format_time((begin or 0) + start + took)
    return lines


async def test_an_outline_tells_in_columns_what_the_hierarchy_tells_as_a_tree(store: Store) -> None:
    root, lost = new_id(), new_id()
    usage = {"metadata": {"usage_metadata": {"total_tokens": 7, "total_cost": 0.25}}}
    await store.post(
        a_run(id=root, name="root", start_time=at(1)),
        an_ended_run(name="early", start_time=at(0), parent_run_id=root, trace_id=root, run_type="llm", extra=usage),
        an_ended_run(name="orphan", start_time=at(2), parent_run_id=lost, trace_id=root, error="it broke"),
    )
    ring = [new_id(), new_id()]
    await store.post(*(a_run(id=id_, parent_run_id=ring[place - 1]) for place, id_ in enumerate(ring)))
    nothing = new_id()
    await store.post(a_run(name="child", parent_run_id=nothing, trace_id=nothing))
    for asked in (root, *ring, nothing):
        whole, outline = await tree(store, asked), await store.get(f"/dashboard/runs/{asked}/outline")
        for name in ("root_run_id", "total_runs", "max_depth"):
            assert outline[name] == whole[name]
        assert lines_of(outline) == rows_of(whole["hierarchy"])
    assert (await store.get(f"/dashboard/runs/{root}/outline"))["start_time"] == at(0)
    cut = [(await store.get(f"/dashboard/runs/{asked}/outline"))["cycles"] for asked in ring]
    assert len({id_ for cycles in cut for id_ in cycles}) == 1


async def test_a_hierarchy_that_is_not_there_is_a_404_and_a_malformed_id_a_422(store: Store) -> None:
    id_ = new_id()
    for shape_of_it in ("hierarchy", "outline"):
        answer = await store.client.get(f"/dashboard/runs/{id_}/{shape_of_it}")
        assert (answer.status_code, answer.json()["detail"]) == (404, f"There is no trace {id_}.")
    answer = await store.client.get("/dashboard/runs/trace-1/hierarchy")
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "'trace-1' is not the id of a trace: expected a UUID",
    )


# --- statistics -------------------------------------------------------------------------------------------------------


async def stats(store: Store) -> dict[str, Any]:
    summary = await store.get("/dashboard/stats/summary")
    found: dict[str, Any] = summary["stats"]
    return found


async def test_the_numbers_of_an_empty_store_are_zero(store: Store) -> None:
    summary = await store.get("/dashboard/stats/summary")
    assert summary["recent_projects"] == []
    assert summary["stats"] == {
        "total_runs": 0,
        "total_traces": 0,
        "recent_runs_24h": 0,
        "status_distribution": {},
        "run_type_distribution": {},
        "project_distribution": {},
    }


async def test_the_numbers_follow_every_change_of_a_run(store: Store) -> None:
    run = a_run(session_name="one")
    await store.post(run)
    assert (await stats(store))["status_distribution"] == {"running": 1}
    await store.patch({"id": run["id"], "end_time": END, "outputs": {"a": 1}})
    assert (await stats(store))["status_distribution"] == {"completed": 1}
    await store.patch({"id": run["id"], "error": "boom", "run_type": "llm", "session_name": "two"})
    now = await stats(store)
    assert (now["status_distribution"], now["run_type_distribution"]) == ({"failed": 1}, {"llm": 1})
    assert (now["project_distribution"], now["total_runs"], now["total_traces"]) == ({"two": 1}, 1, 1)
    await store.patch({"id": run["id"], "parent_run_id": new_id()})
    # The trace stays, with a placeholder for its root, and is not counted as a run.
    now = await stats(store)
    assert (now["total_runs"], now["total_traces"], (await store.roots())["total"]) == (1, 1, 1)


async def test_the_last_day_is_counted_to_the_microsecond(store: Store) -> None:
    now = time.time_ns() // 1000
    day = 24 * HOUR_US
    inside = [now - day + 60_000_000, now - 23 * HOUR_US, now - 12 * HOUR_US, now - 60_000_000]
    outside = [now - day - 1, now - day - HOUR_US, now - 2 * day, now + 60_000_000, now + day]
    await store.post(*(a_run(start_time=format_time(start)) for start in (*inside, *outside)))
    counted = await stats(store)
    assert (counted["recent_runs_24h"], counted["total_runs"]) == (len(inside), len(inside) + len(outside))


async def test_projects_are_named_by_their_newest_start(store: Store) -> None:
    await store.post(*(a_run(session_name=f"p{n:02}", start_time=at(n)) for n in range(12)))
    await store.post(a_run(session_name="p03", start_time=at(50)), a_run(session_name="p03", start_time=START))
    recent = (await store.get("/dashboard/stats/summary"))["recent_projects"]
    assert [project["name"] for project in recent] == ["p03", *(f"p{n:02}" for n in range(11, 1, -1) if n != 3)]
    assert recent[0] == {"name": "p03", "total_runs": 3, "total_traces": 3, "last_activity": at(50)}


async def test_feedback_and_attachments_alone_are_no_runs(store: Store) -> None:
    await store.send_parts(
        (f"attachment.{new_id()}.a", b"x", "text/plain"), json_part(f"feedback.{new_id()}", {"key": "k"})
    )
    assert (await stats(store))["total_runs"] == 0
    assert (await store.roots())["total"] == 0


async def test_traces_of_a_deleted_project_take_no_place_on_a_page(store: Store) -> None:
    gone, kept = a_run(session_name="gone", start_time="2024-01-16T00:00:00Z"), a_run(session_name="kept")
    await store.post(gone, kept)
    project_id = (await store.run(gone["id"]))["session_id"]
    assert (await store.client.delete(f"/sessions/{project_id}")).is_success
    page = await store.roots(limit=1)
    assert ([run["id"] for run in page["runs"]], page["total"], page["has_more"]) == ([kept["id"]], 1, False)
