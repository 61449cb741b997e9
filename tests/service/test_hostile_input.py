"""Odd and hostile input over every way in: nothing answers 5xx, nothing good is lost, and what is bad is kept."""

import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson
import zstandard

from tests.service.apps import BOUNDARY, END, START, Store, a_run, an_ended_run, json_part, multipart, new_id

RECORDINGS = Path(__file__).parent.parent / "recordings"
MEGABYTE = 2**20
# Every field that somebody looks at, in groups of some that have nothing to do with each other.
FIELDS = (
    ("name", "inputs", "tags", "session_name", "reference_example_id"),
    ("run_type", "outputs", "project_name", "events", "parent_run_id"),
    ("start_time", "error", "extra", "session_id"),
    ("end_time", "serialized", "attachments", "dotted_order"),
    ("trace_id", "status", "child_runs", "something_new"),
)
NEEDED = {"name", "run_type", "start_time"}
# Each as the bytes of a JSON value, or of what calls itself one.
VALUES = (
    *(b"null", b"true", b"0", b"-1", b"1.5", b"1e400", b"-Infinity", b"NaN", b"%d" % 2**70, b"9" * 5000),
    *(
        b'""',
        b'" "',
        b'"\\u0000"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\xff\xfe"',
        b'"\x01\n"',
        b'"\xf0\x9f\x92\xa5"',
    ),
    *(
        b"{}",
        b"[]",
        b"[null]",
        b'[[["deep"]]]',
        b'{"":{}}',
        b'{"a":null}',
        b'{"metadata":5}',
        b'{"metadata":{"a":NaN}}',
    ),
    *(b'"' + b"x" * 13_000 + b'"', b'"' + "é".encode() * 13_000 + b'"', b'{"usage_metadata":{"input_tokens":-1}}'),
    *(b"[" * 500 + b"]" * 500, b'"9999-12-31T23:59:59Z"', b'"0001-01-01T00:00:00Z"', b'"20240115"', b'"not a time"'),
)


def raw_run(run_id: str, **members: bytes) -> bytes:
    """A run as bytes, with these members in place of the usual ones."""
    usual = {
        "id": b'"%s"' % run_id.encode(),
        "name": b'"x"',
        "run_type": b'"chain"',
        "start_time": b'"%s"' % START.encode(),
    }
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), raw) for name, raw in {**usual, **members}.items()) + b"}"


async def assert_all_readable(store: Store, run_ids: list[str]) -> None:
    """Every run reads back in every way that there is, and is counted once."""
    for run_id in run_ids:
        read = await store.run(run_id)
        assert all(isinstance(tag, str) for tag in read["tags"])
        await store.get(f"/dashboard/runs/{run_id}/hierarchy")
    for query in ("?limit=1000", "?limit=1000&preview=true"):
        await store.get(f"/dashboard/runs/roots{query}")
    await store.get("/sessions?limit=1000")
    summary = await store.get("/dashboard/stats/summary")
    assert summary["stats"]["total_runs"] == len(run_ids)


async def test_any_value_in_any_field_of_a_run_is_taken_and_read(store: Store) -> None:
    sent: list[str] = []
    for fields in FIELDS:
        values = [value for value in VALUES if value != b"null" or not NEEDED & set(fields)]
        runs = {new_id(): dict.fromkeys(fields, value) for value in values}
        for operation in ("post", "patch"):
            writes = b",".join(raw_run(run_id, **members) for run_id, members in runs.items())
            answer = await store.client.post("/runs/batch", content=b'{"%s":[%s]}' % (operation.encode(), writes))
            assert answer.status_code == 200, fields
            report = answer.json()
            assert report["errors"] == [], fields
            assert report["created_count"] + report["updated_count"] == len(runs)
        sent += runs
    await assert_all_readable(store, sent)
    assert await store.quarantined() == []


async def test_any_value_in_any_part_of_a_run_is_taken_and_read(store: Store) -> None:
    values = (*VALUES, b"", b"no json", b"{", b'"unclosed', b"\x00", b"\xff")
    parts, sent = [], []
    for value in values:
        sent.append(run_id := new_id())
        parts.append((f"post.{run_id}", raw_run(run_id)))
        parts += [
            (f"post.{run_id}.{name}", value) for name in ("inputs", "outputs", "events", "extra", "error", "serialized")
        ]
    assert (await store.send_parts(*parts)).status_code == 202
    assert await store.receipts() == [(len(values), len(values), 0, 0)]
    await assert_all_readable(store, sent)


async def test_any_value_in_any_field_of_feedback_is_taken_and_read(store: Store) -> None:
    given = 0
    for value in VALUES:
        body = b'{"key":"k",' + b",".join(b'"%s":%s' % (name, value) for name in FEEDBACK_FIELDS) + b"}"
        answer = await store.client.post("/feedback", content=body)
        assert answer.status_code == 200, (value, answer.text)
        patched = await store.client.patch(f"/feedback/{answer.json()['id']}", content=body)
        assert patched.status_code == 200, (value, patched.text)
        given += 1
    answer = await store.client.get("/feedback?limit=1000")
    assert (answer.status_code, len(orjson.loads(answer.content))) == (200, given)


FEEDBACK_FIELDS = (
    *(b"run_id", b"trace_id", b"score", b"value", b"comment", b"correction", b"feedback_source", b"feedback_config"),
    *(b"session_id", b"created_at", b"modified_at", b"extra", b"error", b"something_new"),
)


async def test_times_of_all_kinds_and_years_are_read(store: Store) -> None:
    for sent, read in (
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("2099-12-31T23:59:59.999999Z", "2099-12-31T23:59:59.999999Z"),
        ("2024-01-15T12:30:00+02:00", START),
        ("2024-01-15T10:30:00", START),
        ("2024-01-15 10:30:00", START),
        (1705314600000, START),
        (1705314600000.5, "2024-01-15T10:30:00.000500Z"),
        ("1705314600000", START),
        (0, "1970-01-01T00:00:00Z"),
    ):
        run = a_run(start_time=sent, end_time=sent)
        await store.post(run)
        found = await store.run(run["id"])
        assert (found["start_time"], found["end_time"], found["duration_ms"]) == (read, read, 0), sent


async def test_a_run_that_ends_before_it_starts_took_no_time(store: Store) -> None:
    run = an_ended_run(start_time=END, end_time=START)
    await store.post(run)
    read = await store.run(run["id"])
    assert (read["start_time"], read["end_time"], read["duration_ms"]) == (END, START, 0)


async def test_a_start_that_is_not_told_is_found_in_the_id_or_the_dotted_order(store: Store) -> None:
    by_id, by_order = "018d0cf4-8f40-7000-8000-000000000001", new_id()
    await store.patch({"id": by_id}, {"id": by_order, "dotted_order": f"20240115T103000000001Z{by_order}"})
    assert (await store.run(by_id))["start_time"] == "2024-01-15T11:49:30.560000Z"
    assert (await store.run(by_order))["start_time"] == "2024-01-15T10:30:00.000001Z"


async def test_levels_beyond_any_parser_are_kept_and_read_as_text(store: Store) -> None:
    for deep in (b"[" * 5000 + b"]" * 5000, b'{"a":' * 5000 + b"1" + b"}" * 5000):
        single, batched, parted = new_id(), new_id(), new_id()
        assert (await store.client.post("/runs", content=raw_run(single, inputs=deep, extra=deep))).status_code == 202
        body = b'{"post":[' + raw_run(batched, outputs=deep, tags=deep) + b"]}"
        assert (await store.client.post("/runs/batch", content=body)).json()["created_count"] == 1
        await store.send_parts((f"post.{parted}", raw_run(parted)), (f"post.{parted}.events", deep))
        for run_id, field in ((single, "inputs"), (batched, "outputs"), (parted, "events")):
            text = (await store.client.get(f"/runs/{run_id}")).content
            assert deep[:100].replace(b'"', b'\\"') in text or deep[:100] in text, field
            orjson.loads(text)
    assert (await store.roots())["total"] == 6
    for nested in (b"[" * 5000, b'{"post":' * 5000, b"[" * 5000 + b"]" * 5000):
        for path in ("/runs", "/runs/batch", "/feedback"):
            answer = await store.client.post(path, content=nested)
            assert answer.status_code in (400, 422), (path, answer.text)


async def test_twenty_seven_megabytes_in_one_run_read_back_whole(store: Store) -> None:
    single, parted = an_ended_run(inputs={"text": "é" * (27 * MEGABYTE // 2)}), new_id()
    body = orjson.dumps(single)
    assert (await store.client.post("/runs", content=body)).status_code == 202
    compressed = zstandard.compress(multipart([json_part(f"post.{parted}", {**single, "id": parted})]))
    assert (await store.send_multipart(compressed, headers={"Content-Encoding": "zstd"})).status_code == 202
    for run_id in (single["id"], parted):
        read = await store.run(run_id)
        assert (read["status"], read["outputs"]) == ("completed", single["outputs"])
        stored = await store.client.get(read["inputs"]["url"])
        assert stored.content == orjson.dumps(single["inputs"])
    assert await store.count("contents") == 1


async def test_every_code_point_survives_in_a_name_and_in_inputs(store: Store) -> None:
    every = "".join(chr(point) for point in range(0x11000) if not 0xD800 <= point < 0xE000)
    run = a_run(name=every, inputs={"text": every}, tags=[every[:200]], error=every)
    await store.post(run)
    read = await store.run(run["id"])
    assert (read["name"], read["inputs"], read["error"], read["tags"]) == (every, run["inputs"], every, run["tags"])


async def test_numbers_that_no_column_holds_leave_the_runs_readable_and_the_numbers_counted(store: Store) -> None:
    usage = {"input_tokens": 2**62 - 1, "output_tokens": 2**63, "total_tokens": 2**62 - 1, "total_cost": 1e300}
    runs = [
        an_ended_run(
            outputs={"usage_metadata": usage},
            start_time="0001-01-01T00:00:00Z",
            end_time="9999-12-31T23:59:59Z",
        )
        for _ in range(40)
    ]
    report = await store.post(*runs)
    assert report["created_count"] == len(runs)
    good = an_ended_run(outputs={"usage_metadata": {"input_tokens": 1, "output_tokens": 1}})
    await store.post(good)
    assert await store.quarantined() == []
    await assert_all_readable(store, [run["id"] for run in (*runs, good)])


async def test_a_body_mangled_anywhere_is_accounted_for_and_never_fails(store: Store) -> None:
    recorded = (RECORDINGS / "python-0.1.147-multipart.bin").read_bytes()
    ours = multipart([json_part(f"post.{(run := an_ended_run())['id']}", run), (f"attachment.{new_id()}.a", b"\x00")])
    batch = orjson.dumps({"post": [a_run(), an_ended_run()], "patch": [{"id": new_id(), "extra": {"metadata": {}}}]})
    for body in mangled(recorded, ours, seed=1, times=80):
        boundary = body[2 : body.find(b"\r")].decode("latin-1") or BOUNDARY
        content_type = f"multipart/form-data; boundary={boundary}" if boundary.isprintable() else "multipart/form-data"
        answer = await store.send_multipart(
            body, headers={"Content-Type": content_type.encode().decode("ascii", "replace")}
        )
        assert answer.status_code in (202, 400), body
    for body in mangled(batch, seed=2, times=80):
        answer = await store.client.post("/runs/batch", content=body)
        assert answer.status_code in (200, 400), body
    received = sum(receipt[0] for receipt in await store.receipts())
    assert received > 160
    assert (await store.client.get("/dashboard/runs/roots?limit=1000")).status_code == 200
    summary = await store.get("/dashboard/stats/summary")
    assert summary["stats"]["total_runs"] == sum(summary["stats"]["status_distribution"].values())


def mangled(*bodies: bytes, seed: int, times: int) -> Iterator[bytes]:
    """Bodies with some bytes flipped, doubled, cut out, or swapped for odd ones; the same for one seed."""
    chance = random.Random(seed)
    odd = (
        b"\x00",
        b"\xff",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b",",
        b"\r\n",
        b"--",
        b"null",
        b"NaN",
        b"\\u0000",
        b"\\ud800",
    )
    for _ in range(times):
        body = bytearray(chance.choice(bodies))
        for _ in range(chance.randint(1, 6)):
            start = chance.randrange(len(body))
            end = min(len(body), start + chance.randint(0, 20))
            body[start:end] = chance.choice(
                (chance.choice(odd), body[start:end] * 2, b"", bytes([chance.randrange(256)]))
            )
        yield bytes(body)


async def test_hostile_headers_break_nothing(store: Store) -> None:
    for name, value in (
        ("User-Agent", "langsmith-py/" + "9" * 5000),
        ("User-Agent", "\u00ff\u00fe"),
        ("User-Agent", ""),
        ("X-Request-ID", "\t" + "x" * 500),
        ("Content-Type", "\u00ff"),
        ("Content-Encoding", "identity, identity"),
        ("X-Forwarded-For", "'; DROP TABLE runs"),
        ("Origin", "null"),
    ):
        answer = await store.client.post("/runs", json=a_run(), headers=[(name.encode(), value.encode("latin-1"))])
        assert answer.status_code == 202, (name, answer.text)
    assert len(await store.receipts()) == 8


async def test_hostile_paths_and_queries_never_fail(store: Store) -> None:
    texts = ("%00", "%FF", "..%2f..", "%20", "x" * 3000, "0" * 32, "%F0%9F%92%A5", str(uuid.UUID(int=0)), "{}", "-1")
    for path in (
        *("/runs/{}", "/dashboard/runs/{}/hierarchy", "/feedback/{}", "/sessions/{}", "/contents/{}"),
        *(
            "/contents/00?type={}&name={}&expires={}&signature={}",
            "/feedback?run={}&key={}&limit={}",
            "/sessions?name={}&id={}",
        ),
        *(
            "/dashboard/runs/roots?limit={}",
            "/dashboard/runs/roots?start_time_gte={}",
            "/dashboard/runs/roots?search={}",
        ),
        *("/runs/{}?status_words={}", "/{}", "/api/{}", "/api/v1/{}"),
    ):
        for text in texts:
            answer = await store.client.get(path.replace("{}", text))
            assert answer.status_code < 500, (path, text, answer.text)
            assert answer.headers["content-type"].startswith("application/json")
