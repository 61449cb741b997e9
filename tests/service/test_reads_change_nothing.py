"""No read changes anything: every table is the same before and after every GET."""

from typing import Any

from tests.service.apps import Store, a_run, an_ended_run, json_part, new_id


async def fill(store: Store) -> dict[str, str]:
    """A bit of everything; the values for the parameters of paths."""
    run, root, feedback_id = an_ended_run(session_name="mine"), new_id(), new_id()
    await store.post(run, a_run(parent_run_id=root), a_run(id=(loop := new_id()), parent_run_id=loop))
    await store.patch({"id": new_id(), "name": "never posted"})
    await store.send_parts(
        json_part(f"feedback.{feedback_id}", {"key": "k", "run_id": run["id"]}),
        (f"attachment.{run['id']}.a", b"data", "text/plain"),
        ("unknown", b"kept"),
    )
    read = await store.run(run["id"])
    hash_ = read["s3_urls"]["attachment.a"]["presigned_url"].split("/contents/")[1].split("?")[0]
    return {
        "run_id": run["id"],
        "trace_id": root,
        "feedback_id": feedback_id,
        "project_id": read["session_id"],
        "content_hash": hash_,
    }


async def test_no_get_changes_a_table(store: Store) -> None:
    known = await fill(store)
    attachment = (await store.run(known["run_id"]))["s3_urls"]["attachment.a"]["presigned_url"]
    before = await store.dump()
    assert all(
        before[table] for table in ("events", "runs", "feedback", "attachments", "contents", "quarantine", "stats")
    )

    # A stream never ends: test_event_stream.py reads that.
    documented = store.app.openapi()["paths"].items()
    paths = [path for path, methods in documented if "get" in methods and not path.endswith("/stream")]
    asked: list[tuple[str, dict[str, Any]]] = [(path.format_map(Known(known)), {}) for path in paths]
    asked += [(path.format_map(Known({})), {}) for path in paths if "{" in path]
    asked += [
        (attachment, {}),
        ("/dashboard/runs/roots", {"search": "a", "project": "nobody's", "status": "running", "preview": "true"}),
        ("/dashboard/runs/roots", {"limit": "0"}),
        ("/sessions", {"name": "a project that is not there"}),
        ("/feedback", {"run": known["run_id"], "key": "k"}),
        (f"/runs/{known['run_id']}", {"status_words": "langsmith"}),
        ("/docs", {}),
        ("/openapi.json", {}),
        ("/nothing", {}),
    ]
    for path, query in asked:
        answer = await store.client.get(path, params=query or None)
        assert answer.status_code < 500, (path, answer.text)
        assert await store.dump() == before, path
    assert len(asked) > 20


class Known(dict[str, str]):
    """Gives an id that nothing knows of for what is missing."""

    def __missing__(self, name: str) -> str:
        return new_id()


async def test_asking_what_may_be_done_changes_nothing(store: Store) -> None:
    await fill(store)
    before = await store.dump()
    for path in store.app.openapi()["paths"]:
        for method in ("OPTIONS", "HEAD"):
            assert (await store.client.request(method, path.format_map(Known()))).status_code < 500
    assert await store.dump() == before
