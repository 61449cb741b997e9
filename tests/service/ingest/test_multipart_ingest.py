"""POST /runs/multipart, as SDKs of all ages send it and as they never would."""

import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import orjson
import pytest
import zstandard

from tests.service.apps import (
    BOUNDARY,
    MULTIPART,
    START,
    Refusal,
    Store,
    a_run,
    an_ended_run,
    json_part,
    multipart,
    new_id,
    open_store,
)

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "zstd": zstandard.ZstdCompressor(write_content_size=False).compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


def sdk_parts(run: dict[str, Any], operation: str = "post") -> list[Any]:
    """A run in parts, as the SDKs of today send it: the large fields each on their own."""
    alone = ("inputs", "outputs", "events", "extra", "error", "serialized")
    name = f"{operation}.{run['id']}"
    main = json_part(name, {key: value for key, value in run.items() if key not in alone})
    return [main, *(json_part(f"{name}.{key}", run[key]) for key in alone if key in run)]


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def test_a_run_in_parts_reads_back_whole_whatever_the_encoding(store: Store) -> None:
    for encoding, encode in ENCODERS.items():
        run = an_ended_run(
            error="boom",
            events=[{"name": "start", "time": START}],
            extra={"metadata": {"a": 1}, "runtime": {"sdk": "x"}},
            serialized={"lc": 1},
            tags=["a", "b"],
        )
        body = multipart(sdk_parts(run))
        answer = await store.send_multipart(encode(body), headers={"Content-Encoding": encoding})
        assert (answer.status_code, answer.json()) == (202, {"message": "Runs ingested"})
        read = await store.run(run["id"])
        assert {name: read[name] for name in run} == run
        assert read["status"] == "failed"
    assert await store.receipts() == [(1, 1, 0, 0)] * len(ENCODERS)


async def test_a_chunked_body_is_taken_without_a_content_length(store: Store) -> None:
    for encoding, encode in ENCODERS.items():
        run = an_ended_run(inputs={"text": "x" * 5000})
        chunks = pieces(encode(multipart(sdk_parts(run))), 100)
        answer = await store.send_multipart(chunks, headers={"Content-Encoding": encoding})
        assert answer.status_code == 202
        assert (await store.run(run["id"]))["inputs"] == run["inputs"]


async def test_fields_inside_the_main_part_are_taken_as_old_sdks_send_them(store: Store) -> None:
    run = an_ended_run(extra={"metadata": {"a": 1}}, error=None, serialized={"lc": 1})
    main = {name: value for name, value in run.items() if name not in ("inputs", "outputs")}
    await store.send_parts(
        json_part(f"post.{run['id']}", main),
        json_part(f"post.{run['id']}.inputs", run["inputs"]),
        json_part(f"post.{run['id']}.outputs", run["outputs"]),
    )
    read = await store.run(run["id"])
    assert {name: read[name] for name in run} == run


async def test_parts_of_the_first_js_sdks_carry_a_file_name(store: Store) -> None:
    run = a_run(start_time=1705314600000)
    parts = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="blob"\r\n'
        f"Content-Type: application/json\r\n\r\n".encode()
        + orjson.dumps(value)
        + b"\r\n"
        for name, value in ((f"post.{run['id']}", run), (f"post.{run['id']}.inputs", {"a": 1}))
    )
    await store.send_multipart(parts + f"--{BOUNDARY}--\r\n".encode())
    read = await store.run(run["id"])
    assert (read["start_time"], read["inputs"]) == (START, {"a": 1})


async def test_the_post_and_the_patch_of_a_run_may_come_in_one_body(store: Store) -> None:
    run = a_run(inputs={"a": 1}, outputs={}, events=[])
    patch = {"id": run["id"], "end_time": "2024-01-15T10:30:05Z", "outputs": {"b": 2}, "events": [{"name": "end"}]}
    for first, second in (("post", "patch"), ("patch", "post")):
        run["id"] = patch["id"] = new_id()
        parts = {"post": sdk_parts(run), "patch": sdk_parts(patch, "patch")}
        await store.send_parts(*parts[first], *parts[second])
        read = await store.run(run["id"])
        assert (read["status"], read["version"]) == ("completed", 2)
        assert (read["inputs"], read["outputs"], read["events"]) == ({"a": 1}, {"b": 2}, [{"name": "end"}])


async def test_runs_of_several_traces_and_projects_may_come_in_one_body(store: Store) -> None:
    runs = [an_ended_run(session_name=f"project {number % 3}") for number in range(9)]
    interleaved = [part for parts in zip(*map(sdk_parts, runs), strict=True) for part in parts]
    await store.send_parts(*interleaved)
    for run in runs:
        read = await store.run(run["id"])
        assert (read["inputs"], read["project_name"]) == (run["inputs"], run["session_name"])
    assert await store.receipts() == [(9, 9, 0, 0)]


async def test_parts_in_any_order_make_the_same_run(store: Store) -> None:
    run = an_ended_run(extra={"metadata": {"a": 1}})
    parts = sdk_parts(run)
    for turn in range(len(parts)):
        run["id"] = new_id()
        parts = sdk_parts(run)
        await store.send_parts(*parts[turn:], *parts[:turn])
        read = await store.run(run["id"])
        assert {name: read[name] for name in run} == run
    assert await store.quarantined() == []


async def test_a_part_that_is_no_json_reads_as_its_text_and_costs_nothing_else(store: Store) -> None:
    run = an_ended_run(extra={"metadata": {"a": 1}})
    name = f"post.{run['id']}"
    main, _, outputs, extra = sdk_parts(run)
    broken = {".error": b"\"ValueError('boom \\ bad surrogate')\"", ".inputs": b"text", ".events": b"[1,"}
    answer = await store.send_parts(main, *((name + field, text) for field, text in broken.items()), outputs, extra)
    assert answer.status_code == 202
    read = await store.run(run["id"])
    assert read["error"] == broken[".error"].decode()
    assert read["inputs"] == {"input": "text"}
    assert read["events"] == "[1,"
    assert (read["outputs"], read["extra"]) == (run["outputs"], run["extra"])
    assert read["status"] == "failed"
    assert await store.quarantined() == []


async def test_a_main_part_that_is_no_json_is_kept_with_its_fields_and_the_others_are_applied(store: Store) -> None:
    good, bad = an_ended_run(), new_id()
    parts = [(f"post.{bad}", b'{"name": '), json_part(f"post.{bad}.inputs", {"kept": True}), *sdk_parts(good)]
    answer = await store.send_parts(*parts)
    assert answer.status_code == 202
    assert (await store.run(good["id"]))["outputs"] == good["outputs"]
    (kept,) = await store.quarantined()
    assert kept.source == f"post.{bad}"
    assert "is not a JSON object" in kept.reason
    assert orjson.loads(kept.raw) == {"main": '{"name": ', "inputs": {"kept": True}}
    assert await store.receipts() == [(2, 1, 0, 1)]


async def test_every_part_that_cannot_be_used_is_kept_with_a_reason_and_the_answer_is_202(store: Store) -> None:
    run = a_run()
    lost = "post." + new_id()
    bad: dict[str, bytes] = {
        "run": b"{}",
        "get." + run["id"]: b"{}",
        "post": b"{}",
        "post.": b"{}",
        "post.run-1": b'{"name": "x"}',
        "patch.run-1.inputs": b'{"a": 1}',
        "attachment." + run["id"]: b"bytes",
        "attachment.run-1.a": b"bytes",
        "feedback." + new_id(): b'{"score": 1}',
        f"feedback.{new_id()}": b"not json",
        "post." + new_id(): b"[]",
        "patch." + new_id(): b"null",
        f"{lost}.inputs": b'{"without": "main"}',
    }
    answer = await store.send_parts(*sdk_parts(run)[:1], *bad.items())
    assert answer.status_code == 202
    kept = await store.quarantined()
    assert len(kept) == len(bad)
    assert all(refusal.reason for refusal in kept)
    assert [refusal.source for refusal in kept] == [*list(bad)[:-1], lost]
    assert await store.receipts() == [(len(bad) + 1, 1, 0, len(bad))]


async def test_a_part_without_a_name_is_kept(store: Store) -> None:
    body = f"--{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nlost\r\n--{BOUNDARY}--\r\n".encode()
    assert (await store.send_multipart(body)).status_code == 202
    (kept,) = await store.quarantined()
    assert (kept.source, kept.raw) == ("part", b"lost")
    assert "no name" in kept.reason


async def test_a_field_of_a_patch_may_come_without_its_main_part(store: Store) -> None:
    id_ = new_id()
    await store.send_parts(json_part(f"patch.{id_}.outputs", {"a": 1}))
    assert (await store.run(id_))["outputs"] == {"a": 1}


async def test_a_field_that_is_usually_in_the_main_part_may_come_alone(store: Store) -> None:
    run = a_run(tags=["a"])
    name = f"post.{run['id']}"
    main = {key: run[key] for key in ("run_type", "start_time")}
    await store.send_parts(json_part(name, main), json_part(f"{name}.name", "alone"), json_part(f"{name}.mine", [1]))
    read = await store.run(run["id"])
    assert (read["name"], read["mine"]) == ("alone", [1])
    assert (await store.roots())["runs"][0]["name"] == "alone"


async def test_a_body_that_is_cut_short_gives_its_complete_parts_and_keeps_the_rest(store: Store) -> None:
    whole, cut = an_ended_run(), an_ended_run()
    body = multipart([*sdk_parts(whole), *sdk_parts(cut)])
    place = body.index(f"post.{cut['id']}.outputs".encode()) + 120
    answer = await store.send_multipart(body[:place])
    assert answer.status_code == 202
    assert (await store.run(whole["id"]))["outputs"] == whole["outputs"]
    read = await store.run(cut["id"])
    assert (read["inputs"], read["outputs"]) == (cut["inputs"], None)
    (kept,) = await store.quarantined()
    assert kept.source == "body"
    assert "ends before its closing boundary" in kept.reason
    assert body[:place].endswith(kept.raw)
    await store.send_multipart(body)
    assert (await store.run(cut["id"]))["outputs"] == cut["outputs"]


async def test_a_body_cut_anywhere_is_accounted_for_and_never_fails(store: Store) -> None:
    body = multipart([*sdk_parts(an_ended_run()), ("attachment." + new_id() + ".a", b"\x00\xff", "image/png")])
    for place in range(0, len(body), 17):
        assert (await store.send_multipart(body[:place])).status_code == 202, place
    await store.receipts()


async def test_a_body_that_is_not_multipart_is_a_400_and_kept(store: Store) -> None:
    for content_type in ("application/json", "", "multipart/form-data", "multipart/form-data; boundary="):
        answer = await store.send_multipart(b'{"post": []}', headers={"Content-Type": content_type})
        assert answer.status_code == 400, content_type
    assert await store.quarantined() == [
        Refusal("body", refusal.reason, b'{"post": []}') for refusal in await store.quarantined()
    ]
    assert await store.receipts() == [(1, 0, 0, 1)] * 4


async def test_feedback_and_attachments_come_in_parts_of_their_own(store: Store) -> None:
    run, feedback_id, data = an_ended_run(), new_id(), bytes(range(256)) + b"\r\n--x\r\n"
    answer = await store.send_parts(
        *sdk_parts(run),
        json_part(f"feedback.{feedback_id}", {"run_id": run["id"], "key": "right", "score": True}),
        (f"attachment.{run['id']}.picture", data, "image/png"),
        (f"attachment.{run['id']}.notes", b"text", "text/plain; length=4"),
        (f"attachment.{run['id']}.empty", b"", "text/plain"),
    )
    assert answer.status_code == 202
    feedback = await store.get(f"/feedback/{feedback_id}")
    assert (feedback["run_id"], feedback["key"], feedback["score"]) == (run["id"], "right", True)
    urls = (await store.run(run["id"]))["s3_urls"]
    stored = {name: (await store.client.get(url["presigned_url"])).content for name, url in urls.items()}
    assert stored == {"attachment.picture": data, "attachment.notes": b"text", "attachment.empty": b""}
    assert {name: url["mime_type"] for name, url in urls.items()} == {
        "attachment.picture": "image/png",
        "attachment.notes": "text/plain",
        "attachment.empty": "text/plain",
    }
    assert await store.receipts() == [(5, 5, 0, 0)]


async def test_an_attachment_may_come_before_its_run_and_again(store: Store) -> None:
    run = a_run()
    part = (f"attachment.{run['id']}.a", b"first", "text/plain")
    await store.send_parts(part)
    assert (await store.client.get(f"/runs/{run['id']}")).status_code == 404
    await store.post(run)
    await store.send_parts(part)
    url = (await store.run(run["id"]))["s3_urls"]["attachment.a"]["presigned_url"]
    assert (await store.client.get(url)).content == b"first"
    assert await store.receipts() == [(1, 1, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0)]
    assert await store.count("contents") == 1


async def test_a_re_sent_body_counts_as_duplicate(store: Store) -> None:
    run = an_ended_run()
    parts = [*sdk_parts(run), json_part(f"feedback.{new_id()}", {"key": "k", "run_id": run["id"]})]
    answers = [await store.send_parts(*parts) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert await store.receipts() == [(2, 2, 0, 0), (2, 0, 2, 0), (2, 0, 2, 0)]


@pytest.fixture
async def small(database_url: str) -> AsyncIterator[Store]:
    """A store that takes bodies of one megabyte."""
    async with open_store(database_url, max_body_mb=1) as store:
        yield store


def bombs() -> Iterator[tuple[str, bytes]]:
    """64 megabytes of zeros each, in less than one."""
    zeros = bytes(64 * 2**20)
    yield "zstd", zstandard.compress(zeros)
    yield "gzip", gzip.compress(zeros)


async def test_a_body_beyond_the_bound_is_a_413_before_it_fills_memory(small: Store) -> None:
    for encoding, bomb in bombs():
        tracemalloc.start()
        answer = await small.send_multipart(bomb, headers={"Content-Encoding": encoding})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer.status_code == 413
        assert "1048576" in answer.json()["detail"]
        assert peak < 16 * 2**20, encoding
    for size, status in ((2**20 + 1, 413), (2**20, 400)):
        answer = await small.client.post("/runs/batch", content=b"x" * size)
        assert answer.status_code == status
    assert small.app.state.intake.memory.bytes_held == 0
    run = an_ended_run()
    assert (await small.send_parts(*sdk_parts(run))).status_code == 202
    assert (await small.run(run["id"]))["status"] == "completed"


async def test_an_encoding_that_is_not_supported_is_a_415(store: Store) -> None:
    for encoding in ("br", "compress", "zstd, br", "gzip, gzip, gzip, gzip", "\x7f"):
        answer = await store.send_multipart(b"x", headers={"Content-Encoding": encoding})
        assert answer.status_code == 415, encoding
        assert "zstd" in answer.json()["detail"]


async def test_a_compressed_body_that_is_broken_is_a_400(store: Store) -> None:
    body = multipart(sdk_parts(an_ended_run()))
    for encoding in ("zstd", "gzip", "deflate"):
        whole = ENCODERS[encoding](body)
        for broken in (b"not compressed at all", whole[:-5], whole[: len(whole) // 2], whole + b"garbage"):
            answer = await store.send_multipart(broken, headers={"Content-Encoding": encoding})
            assert answer.status_code == 400, (encoding, broken)
            assert encoding in answer.json()["detail"]
    assert (await store.roots())["total"] == 0


async def test_encodings_may_be_applied_one_after_the_other(store: Store) -> None:
    run = an_ended_run()
    body = gzip.compress(ENCODERS["zstd"](multipart(sdk_parts(run))))
    answer = await store.send_multipart(body, headers={"Content-Encoding": "zstd, gzip", "Content-Type": MULTIPART})
    assert answer.status_code == 202
    assert (await store.run(run["id"]))["inputs"] == run["inputs"]
