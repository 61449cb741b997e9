"""Entity tags of runs, trees and statistics: they change exactly when the answer does."""

import random
import re
from collections.abc import Mapping
from typing import Any, Final

import httpx
import orjson
import pytest

from events.ids import format_id
from projections.rebuild import rebuild
from projections.words import project_id_of
from service import etags
from service.signing import LIFETIME_S
from tests.service.apps import START, Store, a_run, an_ended_run, json_part, new_id, open_store

SDK = {"User-Agent": "langsmith-py/0.15.0"}
_NAME = "three"
_UNNAMED = format_id(project_id_of(_NAME))
SUMMARY = "/dashboard/stats/summary"


def hierarchy_of(run_id: str) -> str:
    return f"/dashboard/runs/{run_id}/hierarchy"


def outline_of(run_id: str) -> str:
    return f"/dashboard/runs/{run_id}/outline"


async def ask(store: Store, path: str, tag: str | None = None, **headers: str) -> httpx.Response:
    """Read, with what `If-None-Match` is to say."""
    return await store.client.get(path, headers=headers if tag is None else {"If-None-Match": tag, **headers})


async def tag_of(store: Store, path: str, **headers: str) -> str:
    answer = await ask(store, path, **headers)
    assert answer.status_code == 200, answer.text
    tag: str = answer.headers["ETag"]
    return tag


# --- asking again -----------------------------------------------------------------------------------------------------


async def test_who_has_an_answer_is_told_so_and_nothing_else(store: Store) -> None:
    run = an_ended_run()
    await store.post(run)
    for path in (f"/runs/{run['id']}", hierarchy_of(run["id"]), outline_of(run["id"]), SUMMARY):
        first = await ask(store, path)
        again = await ask(store, path, first.headers["ETag"])
        assert (again.status_code, again.content) == (304, b"")
        for name in ("ETag", "Cache-Control", "Vary"):
            assert again.headers.get(name) == first.headers.get(name)
        assert again.headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("{}", 304),
        ('"another", {}', 304),
        ('{} , W/"another"', 304),
        ("*", 304),
        ('"another"', 200),
        ("", 200),
        ("nonsense", 200),
    ],
)
async def test_if_none_match_is_a_list_of_tags_or_a_star(store: Store, sent: str, status: int) -> None:
    run = a_run()
    await store.post(run)
    tag = await tag_of(store, hierarchy_of(run["id"]))
    assert (await ask(store, hierarchy_of(run["id"]), sent.format(tag))).status_code == status


async def test_a_tag_that_a_proxy_made_strong_is_the_same(store: Store) -> None:
    tag = await tag_of(store, SUMMARY)
    assert tag.startswith("W/")
    assert (await ask(store, SUMMARY, tag.removeprefix("W/"))).status_code == 304


async def test_what_is_not_there_is_not_found_whatever_its_reader_has(store: Store) -> None:
    for path in (f"/runs/{new_id()}", hierarchy_of(new_id())):
        assert (await ask(store, path, "*")).status_code == 404


async def test_each_vocabulary_of_a_run_has_a_tag_of_its_own(store: Store) -> None:
    run = an_ended_run()
    await store.post(run)
    path = f"/runs/{run['id']}"
    documented, langsmith = await tag_of(store, path), await tag_of(store, path, **SDK)
    assert documented != langsmith
    assert await tag_of(store, f"{path}?status_words=langsmith") == langsmith
    answer = await ask(store, path, documented, **SDK)
    assert (answer.status_code, answer.json()["status"]) == (200, "success")
    assert "User-Agent" in answer.headers["Vary"]


async def test_a_run_of_an_earlier_moment_has_the_tag_that_it_had_then(store: Store) -> None:
    run = a_run(dotted_order=None)
    await store.post(run)
    paths = (f"/runs/{run['id']}", hierarchy_of(run["id"]), outline_of(run["id"]))
    before = [await tag_of(store, path) for path in paths]
    position = await store.count("events")
    await store.patch({"id": run["id"], "name": "renamed"})
    assert [await tag_of(store, f"{path}?as_of_position={position}") for path in paths] == before
    assert not set(before) & {await tag_of(store, path) for path in paths}


async def test_statistics_keep_their_tag_while_nothing_but_the_time_changes(store: Store) -> None:
    await store.post(an_ended_run())
    first = await ask(store, SUMMARY)
    second = await ask(store, SUMMARY)
    assert first.json()["timestamp"] != second.json()["timestamp"]
    assert first.headers["ETag"] == second.headers["ETag"]


# --- addresses that expire --------------------------------------------------------------------------------------------


async def test_an_answer_with_addresses_is_given_anew_before_they_expire(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_file, without = a_run(), a_run()
    await store.post(with_file, without)
    await store.send_parts((f"attachment.{with_file['id']}.note", b"hello", "text/plain"))
    periods = iter(range(100))
    monkeypatch.setattr(etags, "period", lambda: next(periods))
    assert await tag_of(store, f"/runs/{with_file['id']}") != await tag_of(store, f"/runs/{with_file['id']}")
    assert await tag_of(store, f"/runs/{without['id']}") == await tag_of(store, f"/runs/{without['id']}")


def test_what_a_304_leaves_in_use_is_good_for_half_its_life_at_least() -> None:
    for made in (0, 1, 1799, 1800, 86_399):
        answered_304 = (second for second in range(made, made + 2 * LIFETIME_S) if _is_same_period(made, second))
        assert all(made + LIFETIME_S - second >= LIFETIME_S // 2 for second in answered_304)


def _is_same_period(one: int, other: int) -> bool:
    return etags.period(one) == etags.period(other)


async def test_addresses_on_another_host_are_another_answer(store: Store) -> None:
    run = a_run()
    await store.post(run)
    await store.send_parts((f"attachment.{run['id']}.note", b"hello", "text/plain"))
    path = f"/runs/{run['id']}"
    assert await tag_of(store, path, Host="one.example") != await tag_of(store, path, Host="other.example")


# --- exactly when the answer does -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
async def test_a_tag_changes_exactly_when_the_answer_does(database_url: str, seed: int) -> None:
    async with open_store(database_url) as store:
        writes, watched = _Writes(store, random.Random(seed), database_url), _Watched(store)
        unchanged = 0
        for _ in range(24):
            await writes.one()
            unchanged += await watched.compare(writes.ids)
        assert set(writes.done) == set(_Writes.KINDS)
        assert unchanged > 0


async def test_what_is_told_of_others_changes_the_tag_of_a_run_that_shows_it(store: Store) -> None:
    parent, child = a_run(), a_run(session_id=_UNNAMED)
    child["parent_run_id"] = parent["id"]
    await store.post(child)
    path = f"/runs/{child['id']}"
    tags = [await tag_of(store, path)]
    await store.post(a_run(session_name=_NAME))
    assert (await store.run(child["id"]))["project_name"] == _NAME
    tags.append(await tag_of(store, path))
    await store.post(parent)
    tags.append(await tag_of(store, path))
    await store.patch({"id": parent["id"], "start_time": "2024-01-15T09:00:00Z"})
    tags.append(await tag_of(store, path))
    await store.send_parts((f"attachment.{child['id']}.note", b"hello", "text/plain"))
    tags.append(await tag_of(store, path))
    await store.send_parts((f"attachment.{child['id']}.note", b"good bye", "text/plain"))
    tags.append(await tag_of(store, path))
    assert len(set(tags)) == len(tags)
    assert (await store.run(child["id"]))["version"] == 1


class _Watched:
    """Every answer of a few runs, as it was last: what stands for its content, and its tag."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: dict[tuple[str, str], tuple[object, str]] = {}

    async def compare(self, ids: list[str]) -> int:
        """Read all again, and hold the tags against the contents. How many were as before."""
        unchanged = 0
        for agent in ("browser", SDK["User-Agent"]):
            for path in (*(f"/runs/{id_}" for id_ in ids), *map(hierarchy_of, ids), SUMMARY):
                unchanged += await self._compare(path, agent)
        return unchanged

    async def _compare(self, path: str, agent: str) -> bool:
        content, tag = self._last.pop((path, agent), (None, None))
        answer = await ask(self._store, path, **{"User-Agent": agent})
        if answer.status_code == 404:
            return False
        told, new_tag = _content(answer), answer.headers["ETag"]
        self._last[path, agent] = told, new_tag
        if tag is None:
            return False
        again = await ask(self._store, path, tag, **{"User-Agent": agent})
        assert again.status_code == (304 if new_tag == tag else 200)
        if told != content:
            assert new_tag != tag, f"{path} for {agent}: {content} became {told}"
        else:
            assert new_tag == tag, f"{path} for {agent}: it is still {told}"
        return new_tag == tag


def _content(answer: httpx.Response) -> Any:
    """What an answer says, but for when it was made and when its addresses expire."""
    told: dict[str, Any] = orjson.loads(re.sub(rb"expires=\d+&signature=\w+", b"", answer.content))
    told.pop("timestamp", None)
    return told


class _Writes:
    """Random writes to five runs, which may move below each other and between projects."""

    _OFTEN: Final = {
        **{"post": 6, "patch": 8, "feedback": 2, "attachment": 2, "revert": 2, "erase": 1},
        **{"name": 1, "rename": 2, "rebuild": 1, "elsewhere": 2, "again": 2},
    }
    KINDS: Final = tuple(_OFTEN)

    def __init__(self, store: Store, source: random.Random, database_url: str) -> None:
        self.ids = [new_id() for _ in range(5)]
        self.done: list[str] = []
        self._store = store
        self._source = source
        self._url = database_url
        self._last: dict[str, Any] = a_run()
        # Each kind comes once in any case, the rest by chance.
        self._waiting = source.sample(self.KINDS, len(self.KINDS))

    async def one(self) -> None:
        kinds = (
            self._source.choices(self.KINDS, tuple(self._OFTEN.values()))
            if len(self.done) % 2 or not self._waiting
            else None
        )
        kind = kinds[0] if kinds else self._waiting.pop()
        await getattr(self, f"_{kind}")(self._source.choice(self.ids))
        self.done.append(kind)

    def _fields(self) -> Mapping[str, Any]:
        choice = self._source.choice
        given = {
            "name": choice(["a", "b"]),
            "run_type": choice(["chain", "llm"]),
            "parent_run_id": choice(self.ids),
            "session_name": choice(["one", "two"]),
            "session_id": _UNNAMED,
            "error": choice(["boom", ""]),
            "outputs": choice([{}, {"a": 1}, {"usage_metadata": {"total_tokens": 3, "total_cost": 0.5}}]),
            "inputs": {"q": choice([1, 2])},
            "start_time": choice([START, "2024-01-15T09:00:00Z"]),
            "end_time": choice(["2024-01-15T10:30:05Z", "2024-01-15T11:00:00Z"]),
            "mine": choice([1, None, "x"]),
        }
        return {name: given[name] for name in self._source.sample(sorted(given), 3)}

    async def _send(self, **body: Any) -> None:
        """Send a batch; of what was erased with a trace, nothing is taken any more."""
        answer = await self._store.client.post("/runs/batch", json=body)
        assert answer.status_code in (200, 207, 422), answer.text

    async def _post(self, id_: str) -> None:
        self._last = {**a_run(id=id_), **self._fields()}
        await self._send(post=[self._last])

    async def _patch(self, id_: str) -> None:
        await self._send(patch=[{"id": id_, **self._fields()}])

    async def _again(self, _: str) -> None:
        await self._send(post=[self._last])

    async def _elsewhere(self, _: str) -> None:
        await self._store.post(an_ended_run(session_name="another"))

    async def _feedback(self, id_: str) -> None:
        sent = {"key": "correct", "run_id": id_, "score": self._source.choice([0, 1])}
        await self._store.send_parts(json_part(f"feedback.{new_id()}", sent))

    async def _attachment(self, id_: str) -> None:
        name, data = self._source.choice(["a", "b"]), self._source.choice([b"1", b"2"])
        await self._store.send_parts((f"attachment.{id_}.{name}", data, "text/plain"))

    async def _revert(self, id_: str) -> None:
        body = {"to_version": self._source.randrange(1, 4), "reason": "by mistake"}
        answer = await self._store.client.post(f"/runs/{id_}/revert", json=body)
        assert answer.status_code in (200, 404, 409, 410, 422), answer.text

    async def _erase(self, id_: str) -> None:
        answer = await self._store.client.delete(f"/traces/{id_}", params={"reason": "asked for"})
        assert answer.status_code in (200, 404, 409, 410), answer.text
        self.ids[self.ids.index(id_)] = new_id()

    async def _name(self, _: str) -> None:
        """Name the project that others name by its id alone: those in it show its name from now on."""
        await self._store.post(a_run(session_name=_NAME))

    async def _rename(self, _: str) -> None:
        projects = (await self._store.client.get("/sessions")).json()
        project = self._source.choice(projects)
        answer = await self._store.client.patch(f"/sessions/{project['id']}", json={"name": new_id()})
        assert answer.status_code == 200, answer.text

    async def _rebuild(self, _: str) -> None:
        result = await rebuild(self._url, rule="documented", processes=1)
        assert result.outcome == "replaced", result
