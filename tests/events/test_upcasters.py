"""One kind has changed its shape twice here: what was a text became a list, and then the list got another name."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import log
from events.kinds import RunPosted, Unknown
from events.log import Submission
from events.schema import events
from events.upcasters import Members, Upcasters, schema_version, upcast
from tests.events.histories import FOLD_VERSION, NOW_US, Log, opened, some_run, submission


def listed(members: Members) -> Members:
    return {**members, "label": b"[" + members["label"] + b"]"} if "label" in members else members


def renamed(members: Members) -> Members:
    return {"tags" if name == "label" else name: value for name, value in members.items()}


SINCE_2: Upcasters = {"RunPosted": (listed,)}
SINCE_3: Upcasters = {"RunPosted": (listed, renamed)}


def test_a_kind_that_never_changed_is_at_the_first_version() -> None:
    assert schema_version("RunPosted") == 1
    assert upcast("RunPosted", 1, b' {"a" :1}') == b' {"a" :1}'


@pytest.mark.parametrize(
    ("version", "payload", "expected"),
    [
        (1, {"id": 1, "label": "a"}, {"id": 1, "tags": ["a"]}),
        (2, {"id": 1, "label": ["a"]}, {"id": 1, "tags": ["a"]}),
        (3, {"id": 1, "label": "a"}, {"id": 1, "label": "a"}),
        (1, {"id": 1}, {"id": 1}),
    ],
)
def test_an_old_payload_takes_every_step_from_its_version_on(version: int, payload: object, expected: object) -> None:
    assert orjson.loads(upcast("RunPosted", version, orjson.dumps(payload), SINCE_3)) == expected


def test_a_change_of_one_kind_is_none_of_another() -> None:
    assert schema_version("RunPosted", SINCE_3) == 3
    assert schema_version("RunPatched", SINCE_3) == 1
    assert upcast("RunPatched", 1, b'{"label": "a"}', SINCE_3) == b'{"label": "a"}'


@pytest.mark.parametrize("version", [-1, 0, 4])
def test_a_version_that_a_kind_never_had_is_refused(version: int) -> None:
    with pytest.raises(ValueError, match=f"RunPosted has schema versions 1 to 3, not {version}"):
        upcast("RunPosted", version, b"{}", SINCE_3)


@given(st.dictionaries(st.text(), st.integers() | st.text(alphabet=st.characters(codec="utf-8"))))
def test_upcasting_is_pure_and_the_same_in_steps(members: dict[str, object]) -> None:
    payload = orjson.dumps({k: v for k, v in members.items() if not isinstance(v, int) or abs(v) < 2**63})
    at_once = upcast("RunPosted", 1, payload, SINCE_3)
    assert upcast("RunPosted", 1, payload, SINCE_3) == at_once
    assert upcast("RunPosted", 2, upcast("RunPosted", 1, payload, SINCE_2), SINCE_3) == at_once


async def test_an_event_that_an_old_program_wrote_reads_as_if_written_today(database_url: str) -> None:
    old, new = some_run(1, label="a"), some_run(1, tags=["b"])
    async with opened(database_url) as store:
        await store.append(submission(old))
        stored = await store.rows(events)
        await append_with(store, submission(new), SINCE_3)
        rows = await store.rows(events)
        async with store.engine.connect() as connection:
            stream = await log.read_stream(connection, old.stream, upcasters=SINCE_3)
            streams = await log.read_streams(connection, [old.stream], upcasters=SINCE_3)
            positions = await log.read_at(connection, [1, 2], bytes_max=10**6, upcasters=SINCE_3)
            slices = [part async for part in log.read_all(connection, upcasters=SINCE_3)]
    assert [row.schema_version for row in rows] == [1, 3]
    assert rows[0] == stored[0]
    assert [orjson.loads(event.payload)["tags"] for event in stream] == [["a"], ["b"]]
    assert [event.body for event in stream] == [RunPosted(event.stream[1:], event.payload) for event in stream]
    assert stream == streams[old.stream] == list(positions.values()) == slices[0]


async def test_an_event_that_a_newer_program_wrote_reads_as_unknown_here(database_url: str) -> None:
    async with opened(database_url) as store:
        await append_with(store, submission(some_run(1)), SINCE_3)
        async with store.engine.connect() as connection:
            (event,) = await log.read_stream(connection, some_run(1).stream)
    assert (event.kind, event.body, event.payload) == ("RunPosted", Unknown("RunPosted"), some_run(1).payload)


async def test_a_duplicate_is_known_across_schema_versions(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(submission(some_run(1)))
        assert await append_with(store, submission(some_run(1)), SINCE_3) == [["duplicate"]]


async def append_with(store: Log, told: Submission, upcasters: Upcasters) -> list[list[log.Outcome]]:
    async with store.writer.transaction():
        head = await log.lock_head(store.writer, fold_version=FOLD_VERSION)
        return (await log.append(store.writer, head, [told], now=NOW_US, upcasters=upcasters)).outcomes
