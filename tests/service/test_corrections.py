"""Reverts and erasures, over HTTP."""

from pathlib import Path

import orjson
import pytest
from sqlalchemy import select

from events.schema import contents, events, receipts
from projections import canonical, runs, stats
from service.migration import upgrade
from tests.service.apps import Store, a_run, an_ended_run, json_part, new_id, open_store

WORD = "Rumpelstiltskin"
PATCH = {"end_time": "2024-01-15T10:30:09Z", "outputs": {"result": "wrong"}, "tags": ["bad"]}


async def test_a_revert_brings_back_the_run_as_it_was(store: Store) -> None:
    run = a_run(inputs={"q": 1}, project_name="first", tags=["good"])
    await store.post(run)
    before = await store.run(run["id"])
    await store.patch({**PATCH, "id": run["id"], "project_name": "second"})
    assert (await store.run(run["id"]))["status"] == "completed"

    answer = await store.client.post(f"/runs/{run['id']}/revert", json={"to_version": 1, "reason": "by mistake"})

    assert answer.status_code == 200, answer.text
    assert answer.json()["version"] == 3
    assert await store.run(run["id"]) == {**before, "version": 3}
    summary = (await store.get("/dashboard/stats/summary"))["stats"]
    assert summary["status_distribution"] == {"running": 1}
    assert summary["project_distribution"] == {"first": 1}


async def test_what_is_written_after_a_revert_counts(store: Store) -> None:
    run = a_run()
    await store.post(run)
    await store.patch({**PATCH, "id": run["id"]})
    await store.client.post(f"/runs/{run['id']}/revert", json={"to_version": 1, "reason": "by mistake"})
    await store.patch({"id": run["id"], "error": "no good", "end_time": "2024-01-15T10:30:07Z"})
    found = await store.run(run["id"])
    assert found["status"] == "failed"
    assert found["outputs"] is None
    assert found["end_time"] == "2024-01-15T10:30:07Z"


async def test_reverting_to_before_a_revert_undoes_it(store: Store) -> None:
    run = a_run()
    await store.post(run)
    await store.patch({**PATCH, "id": run["id"]})
    patched = await store.run(run["id"])
    await store.client.post(f"/runs/{run['id']}/revert", json={"to_version": 1, "reason": "by mistake"})
    await store.client.post(f"/runs/{run['id']}/revert", json={"to_version": 2, "reason": "it was right"})
    assert await store.run(run["id"]) == {**patched, "version": 4}


async def test_a_revert_takes_attachments_back(store: Store) -> None:
    run = a_run()
    await store.post(run)
    await store.send_parts((f"attachment.{run['id']}.note", b"hello", "text/plain"))
    assert "s3_urls" in await store.run(run["id"])
    await store.client.post(f"/runs/{run['id']}/revert", json={"to_version": 1, "reason": "by mistake"})
    assert "s3_urls" not in await store.run(run["id"])


@pytest.mark.parametrize(
    ("version", "status", "sentence"),
    [(0, 422, "greater than or equal to 1"), (4, 422, "versions 1 to 2, not 4")],
)
async def test_a_version_that_is_none_is_refused(store: Store, version: int, status: int, sentence: str) -> None:
    run = a_run()
    await store.post(run)
    await store.patch({**PATCH, "id": run["id"]})
    answer = await store.client.post(f"/runs/{run['id']}/revert", json={"to_version": version, "reason": "x"})
    assert answer.status_code == status
    assert sentence in answer.text
    assert (await store.run(run["id"]))["version"] == 2


async def test_a_run_or_trace_that_nobody_knows_is_404(store: Store) -> None:
    revert = await store.client.post(f"/runs/{new_id()}/revert", json={"to_version": 1, "reason": "x"})
    erasure = await store.client.delete(f"/traces/{new_id()}", params={"reason": "x"})
    assert (revert.status_code, erasure.status_code) == (404, 404)
    assert "there is no" in revert.json()["detail"]


async def _a_trace_with_everything(store: Store) -> tuple[str, str]:
    root = an_ended_run(inputs={"q": WORD}, name=WORD, project_name=WORD, error=WORD, tags=[WORD])
    # Recorded before it is known to belong to the trace: it names its parent only, and the parent comes later.
    child = an_ended_run(parent_run_id=root["id"], outputs={"a": WORD})
    await store.post(child)
    await store.post({**root, "extra": {"metadata": {"thread_id": WORD}}})
    await store.send_parts((f"attachment.{root['id']}.note", WORD.encode() * 100, "text/plain"))
    feedback = {"id": new_id(), "run_id": child["id"], "key": "k", "comment": WORD}
    assert (await store.client.post("/feedback", json=feedback)).status_code == 200
    broken = json_part(f"post.{root['id']}", [WORD])
    assert (await store.send_parts(broken)).status_code == 202
    return root["id"], child["id"]


async def test_an_erased_trace_is_gone_and_the_statistics_are_exact(store: Store) -> None:
    other = an_ended_run(project_name="other")
    await store.post(other)
    root, child = await _a_trace_with_everything(store)

    answer = await store.client.delete(f"/traces/{root}", params={"reason": "asked for"})

    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert (report["runs"], report["feedback"]) == (2, 1)
    for path in (f"/runs/{root}", f"/runs/{child}", f"/dashboard/runs/{root}/hierarchy"):
        assert (await store.client.get(path)).status_code == 404
    assert [run["id"] for run in (await store.roots())["runs"]] == [other["id"]]
    summary = (await store.get("/dashboard/stats/summary"))["stats"]
    assert (summary["total_runs"], summary["total_traces"]) == (1, 1)
    assert summary["project_distribution"] == {"other": 1}
    assert (await store.client.get("/feedback", params={"run": child})).json() == []


async def test_nothing_of_an_erased_trace_is_in_any_table(store: Store) -> None:
    root, _ = await _a_trace_with_everything(store)
    await store.client.delete(f"/traces/{root}", params={"reason": "asked for"})
    everything = repr(await store.dump())
    assert WORD not in everything
    assert await store.count("contents") == 0
    async with store.engine.connect() as connection:
        left = select(events.c.kind).where(events.c.payload.is_not(None))
        assert {row.kind for row in await connection.execute(left)} == {"ProjectCreated", "TraceErased"}
        hashes = select(receipts.c.content_hash).where(receipts.c.endpoint == "POST /api/v1/runs/batch")
        assert {row.content_hash for row in await connection.execute(hashes)} == {None}


async def test_the_bytes_of_an_erased_trace_leave_the_sqlite_file(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/store.db"
    await upgrade(url)
    async with open_store(url) as store:
        # Ids are random bytes: looked for are words that neither compression nor JSON takes apart.
        run = an_ended_run(name=WORD, inputs={"q": "x"})
        await store.post(run)
        assert WORD.encode() in _bytes_in(tmp_path)
        report = (await store.client.delete(f"/traces/{run['id']}", params={"reason": "asked for"})).json()
        assert report["is_purged"]
        assert WORD.encode() not in _bytes_in(tmp_path)


def _bytes_in(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir() if not path.name.endswith("-shm"))


async def test_content_that_another_trace_holds_stays(store: Store) -> None:
    one, two = an_ended_run(), an_ended_run()
    await store.post(one, two)
    for run in (one, two):
        await store.send_parts((f"attachment.{run['id']}.note", b"shared", "text/plain"))
    await store.client.delete(f"/traces/{one['id']}", params={"reason": "asked for"})
    async with store.engine.connect() as connection:
        assert [bytes(row.body) for row in await connection.execute(select(contents.c.body))] == [b"shared"]
    url = (await store.run(two["id"]))["s3_urls"]["attachment.note"]["presigned_url"]
    assert (await store.client.get(url)).content == b"shared"


async def test_late_writes_to_an_erased_trace_are_counted_and_not_revived(store: Store) -> None:
    root, child = await _a_trace_with_everything(store)
    await store.client.delete(f"/traces/{root}", params={"reason": "asked for"})
    before = await store.dump()

    late = [
        {"id": root, "outputs": {"late": WORD}},
        {"id": new_id(), "trace_id": root, "outputs": {"late": WORD}},
        {"id": new_id(), "parent_run_id": child, "outputs": {"late": WORD}},
        {"id": new_id(), "dotted_order": f"20240115T103000000000Z{root}.20240115T103000000000Z{new_id()}"},
    ]
    answer = await store.client.post("/runs/batch", content=orjson.dumps({"patch": late}))
    assert answer.status_code == 200
    assert answer.json()["updated_count"] == 0
    assert len(answer.json()["errors"]) == 4
    assert "erased" in answer.json()["errors"][0]
    assert (await store.client.patch(f"/runs/{root}", json={"outputs": {"late": WORD}})).status_code == 202
    feedback = {"id": new_id(), "run_id": child, "key": "k", "comment": WORD}
    assert (await store.client.post("/feedback", json=feedback)).status_code == 422

    after = await store.dump()
    for table in canonical.UNDUMPED:
        assert after[table.name] == before[table.name]
    assert after["events"] == before["events"]
    assert (await store.receipts())[-3:] == [(4, 0, 0, 4), (1, 0, 0, 1), (1, 0, 0, 1)]
    assert WORD not in repr(after)


async def test_erasing_twice_says_that_there_is_no_trace(store: Store) -> None:
    run = an_ended_run()
    await store.post(run)
    answers = [await store.client.delete(f"/traces/{run['id']}", params={"reason": "x"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 404]


async def test_an_erasure_needs_a_reason(store: Store) -> None:
    run = an_ended_run()
    await store.post(run)
    assert (await store.client.delete(f"/traces/{run['id']}")).status_code == 422
    assert (await store.run(run["id"]))["id"] == run["id"]


async def test_pages_of_other_sites_may_neither_erase_nor_revert(store: Store) -> None:
    run = an_ended_run()
    await store.post(run)
    foreign = {"Origin": "https://elsewhere.example"}
    erasure = await store.client.delete(f"/traces/{run['id']}", params={"reason": "x"}, headers=foreign)
    revert = await store.client.post(
        f"/runs/{run['id']}/revert", json={"to_version": 1, "reason": "x"}, headers=foreign
    )
    assert (erasure.status_code, revert.status_code) == (403, 403)


async def test_erasing_and_reverting_need_the_right_to_administer(database_url: str) -> None:
    keys = "writer:ingest+read,chief:admin+ingest+read"
    async with open_store(database_url, require_auth=True, api_keys=keys) as store:
        run = an_ended_run()
        body = orjson.dumps({"post": [run]})
        writer, chief = {"x-api-key": "writer"}, {"x-api-key": "chief"}
        assert (await store.client.post("/runs/batch", content=body, headers=writer)).status_code == 200
        path, query = f"/traces/{run['id']}", {"reason": "x"}
        assert (await store.client.delete(path, params=query)).status_code == 401
        assert (await store.client.delete(path, params=query, headers=writer)).status_code == 403
        assert (await store.client.delete(path, params=query, headers=chief)).status_code == 200


async def test_an_erased_projects_last_run_takes_the_project_along(store: Store) -> None:
    run = an_ended_run(project_name="short-lived")
    await store.post(run)
    assert len((await store.client.get("/sessions", params={"name": "short-lived"})).json()) == 1
    await store.client.delete(f"/traces/{run['id']}", params={"reason": "x"})
    assert (await store.client.get("/sessions", params={"name": "short-lived"})).json() == []
    async with store.engine.connect() as connection:
        assert (await connection.execute(select(stats.stats))).all() == []
        assert (await connection.execute(select(runs.runs))).all() == []
