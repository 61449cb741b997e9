"""Manages projects, feedback, shares and threads through the SDK's public names; prints what came back.

What an SDK of an older version does not offer is left out.
"""

import asyncio
import datetime
import inspect
import json
import os
import time
import uuid
import warnings
from collections.abc import Callable
from typing import Any

from langsmith import Client
from langsmith.utils import LangSmithConflictError

PROJECT = os.environ["LANGSMITH_PROJECT"] + ", managed"
THREAD = "thread-café"
START = datetime.datetime(2024, 1, 15, 10, 30, tzinfo=datetime.UTC)

client = Client()


def outcome(work: Callable[[], Any]) -> str:
    """The class of what `work` raises."""
    try:
        work()
    except Exception as error:
        return type(error).__name__
    return "nothing"


def offered(method: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Those of the arguments that the method takes in this version of the SDK."""
    return {name: value for name, value in arguments.items() if name in inspect.signature(method).parameters}


def sent_run(minute: int, project: str, **more: Any) -> str:
    """The id of a run that was sent, and waited for."""
    id_ = uuid.uuid4()
    start = START + datetime.timedelta(minutes=minute)
    client.create_run(
        **{"id": id_, "name": "managed", "run_type": "chain", "inputs": {"minute": minute}, "project_name": project},
        start_time=start,
        end_time=start + datetime.timedelta(seconds=4),
        outputs={"minute": minute},
        extra={"metadata": {"thread_id": THREAD}},
        **more,
    )
    for _ in range(100):
        if outcome(lambda: client.read_run(id_)) == "nothing":
            return str(id_)
        time.sleep(0.05)
    raise AssertionError("The run never came.")


def upserted() -> Any:
    """What an upsert gives; None where the SDK offers one and forgets to ask the server for it."""
    try:
        return client.create_project(PROJECT, upsert=True, metadata={"team": "b"})
    except LangSmithConflictError:
        return None


def projects() -> dict[str, Any]:
    made = client.create_project(PROJECT, description="what for", metadata={"team": "a"})
    run = sent_run(1, PROJECT)
    again = upserted()
    read = client.read_project(project_name=PROJECT, include_stats=True)
    listed = list(client.list_projects(name_contains=PROJECT.upper()))
    renamed = client.update_project(made.id, name=PROJECT + " anew", description="renamed", end_time=START)
    later = sent_run(2, PROJECT + " anew")
    return {
        "made": [made.name, made.description, made.metadata],
        "conflict": outcome(lambda: client.create_project(PROJECT + " anew")),
        "upserted": None if again is None else [again.id == made.id, again.metadata],
        "stats": [read.run_count, read.error_rate if hasattr(read, "error_rate") else 0.0, str(read.latency_p50)],
        "listed": [project.id == made.id for project in listed],
        "by_id": client.read_project(project_id=str(made.id)).name == PROJECT + " anew",
        "renamed": [renamed.id == made.id, renamed.name == PROJECT + " anew", renamed.description],
        "end_time": str(renamed.end_time),
        "runs_of_it": [str(client.read_run(id_).session_id) == str(made.id) for id_ in (run, later)],
        "has": [client.has_project(name) for name in (PROJECT + " anew", PROJECT)],
        "tenant": str(made.tenant_id) == str(read.tenant_id),
    }


def feedback(run: str) -> dict[str, Any]:
    given = client.create_feedback(run, "correctness", score=1, comment="right", trace_id=run)
    client.flush() if hasattr(client, "flush") else None
    for _ in range(100):
        if outcome(lambda: client.read_feedback(given.id)) == "nothing":
            break
        time.sleep(0.05)
    client.update_feedback(given.id, score=0.5)
    read = client.read_feedback(given.id)
    listed = list(client.list_feedback(run_ids=[run], feedback_key=["correctness"], feedback_source_type=["api"]))
    elsewhere = list(client.list_feedback(run_ids=[run], feedback_source_type=["model"]))
    client.delete_feedback(given.id)
    return {
        "read": [str(read.run_id) == run, read.key, read.score, read.comment],
        "listed": [one.id == given.id for one in listed],
        "elsewhere": len(elsewhere),
        "deleted": outcome(lambda: client.read_feedback(given.id)),
    }


def full_feedback(run: str) -> dict[str, Any]:
    """Feedback with everything that can be said of it, and what cannot be found by each way of looking for it."""
    id_, source, project = uuid.uuid4(), uuid.uuid4(), str(client.read_run(run).session_id)
    said = {
        "value": {"label": "good"},
        "correction": {"answer": "better"},
        "comment": "因为",
        "source_info": {"by": "a judge"},
        "feedback_source_type": "model",
        "source_run_id": source,
        "feedback_id": id_,
        "feedback_config": {"type": "continuous", "min": 0, "max": 1},
        "session_id": project,
        "extra": {"why": [1]},
    }
    client.create_feedback(run, "full", score=0.25, **offered(client.create_feedback, **said))
    read = client.read_feedback(id_)
    client.update_feedback(id_, value="best", correction={"answer": "best"}, comment="改")
    changed = client.read_feedback(id_)
    metadata = read.feedback_source.metadata
    on_project = uuid.uuid4()
    client.create_feedback(None, "of the project", score=True, project_id=project, feedback_id=on_project)
    listed = client.list_feedback(feedback_key=["of the project"], limit=1, session=[project])
    return {
        "read": [read.score, read.value, read.correction, read.comment, read.feedback_source.type],
        "source": [metadata["by"], metadata["__run"]["run_id"] == str(source)],
        "changed": [changed.score, changed.value, changed.correction, changed.comment],
        "of_project": [[one.id == on_project, one.run_id, one.score] for one in listed],
        "by_source": [one.id == id_ for one in client.list_feedback(run_ids=[run], feedback_source_type=["model"])],
    }


def tokens(run: str) -> dict[str, Any]:
    lifetime = datetime.timedelta(hours=1)
    token = client.create_presigned_feedback_token(run, "helpful", expiration=lifetime)
    several = getattr(client, "create_presigned_feedback_tokens", None)
    more = several(run, ["a", "b"], expiration=lifetime) if several else []
    client.create_feedback_from_token(token.url, score=1, comment="by a link")
    (given,) = client.list_feedback(run_ids=[run], feedback_key=["helpful"])
    client.create_feedback_from_token(token.id, score=0, value="by its id")
    told = [one.score for one in client.list_feedback(run_ids=[run], feedback_key=["helpful"])]
    listed = list(client.list_presigned_feedback_tokens(run))
    return {
        "given": [given.score, given.comment, str(given.run_id) == run],
        "again": sorted(told),
        "listed": len(listed) == 1 + len(more),
        "lives": 3500 < (token.expires_at - datetime.datetime.now(datetime.UTC)).total_seconds() < 3700,
    }


def configs() -> dict[str, Any] | None:
    if not hasattr(client, "create_feedback_config"):
        return None
    key = f"rating of {PROJECT}"
    bounds: Any = {"type": "continuous", "min": 0.0, "max": 5.0}
    made = client.create_feedback_config(key, feedback_config=bounds)
    changed = client.update_feedback_config(key, is_lower_score_better=True)
    listed = [config.feedback_key for config in client.list_feedback_configs(feedback_key=[key])]
    client.delete_feedback_config(key)
    return {
        "made": [made.feedback_key == key, made.feedback_config["max"]],
        "changed": changed.is_lower_score_better,
        "listed": listed == [key],
        "deleted": list(client.list_feedback_configs(feedback_key=[key])) == [],
    }


def shares(run: str) -> dict[str, Any]:
    before = client.run_is_shared(run)
    link = client.share_run(run)
    token = link.split("/")[-2]
    read = client.read_shared_run(token) if hasattr(client, "read_shared_run") else None
    listed = list(client.list_shared_runs(token))
    shared = [client.run_is_shared(run), client.read_run_shared_link(run) == link]
    client.unshare_run(run)
    return {
        "shared": [before, *shared],
        "read": read is None or str(read.id) == run,
        "listed": [str(one.id) == run for one in listed],
        "unshared": client.run_is_shared(run),
    }


def shared_by_choice(run: str) -> bool:
    """Whether a run can be shared by a token that the client chose."""
    token = str(uuid.uuid4())
    link = client.share_run(run, share_id=token)
    client.unshare_run(run)
    return token in link


def lists(project: str) -> dict[str, Any]:
    """What lists give when each of their arguments is used."""
    example, dataset = uuid.uuid4(), uuid.uuid4()
    run = sent_run(3, project, reference_example_id=example)
    made = client.create_project(
        PROJECT + ", an experiment", reference_dataset_id=dataset, metadata={"k": "v"}, project_extra={"extra": 1}
    )
    id_ = str(client.read_project(project_name=project).id)
    ways: list[dict[str, Any]] = [
        {"project_ids": [made.id]},
        {"name": made.name},
        {"name_contains": "AN EXPERIMENT", "limit": 1, "include_stats": True},
        {"reference_dataset_id": dataset},
        {"metadata": {"k": "v"}},
        {"reference_free": True, "project_ids": [made.id, id_]},
    ]
    usable = [way for way in ways if offered(client.list_projects, **way) == way]
    found = [[str(one.id) for one in client.list_projects(**way)] for way in usable]
    client.delete_project(project_id=str(made.id))
    thread: dict[str, Any] = {}
    if hasattr(client, "read_thread"):
        some = {"thread_id": THREAD, "project_id": id_}
        thread["newest"] = [str(one.id) == run for one in client.read_thread(**some, order="desc", limit=1)]
        narrow = client.read_thread(**some, select=["id", "name"], filter='eq(name, "managed")', is_root=True)
        thread["narrow"] = len(list(narrow))
    if hasattr(client, "list_threads"):
        since = START - datetime.timedelta(days=1)
        page = client.list_threads(project_id=id_, start_time=since, limit=1, offset=0, filter='eq(name, "managed")')
        beyond = client.list_threads(project_id=id_, start_time=since, limit=1, offset=1)
        thread["listed"] = [[one["count"] for one in page], list(beyond)]
    return {
        "examples": [str(one.id) == run for one in client.list_runs(reference_example_id=example)],
        "projects": all(
            one == ([id_] if "reference_free" in way else [str(made.id)])
            for way, one in zip(usable, found, strict=True)
        ),
        "ways": len(usable),
        "thread": thread,
    }


def threads(project: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    since = START - datetime.timedelta(days=1)
    if hasattr(client, "read_thread"):
        runs = list(client.read_thread(thread_id=THREAD, project_name=project))
        found["turns"] = [(run.inputs or {})["minute"] for run in runs]
    if hasattr(client, "list_threads"):
        listed = client.list_threads(project_name=project, start_time=since)
        found["listed"] = [[thread["thread_id"], thread["count"]] for thread in listed]
    if hasattr(client, "threads"):
        id_ = str(client.read_project(project_name=project).id)
        found |= asyncio.run(second_generation(id_, since))
    return found


async def second_generation(project_id: str, since: datetime.datetime) -> dict[str, Any]:
    queried = client.threads.query(project_id=project_id, min_start_time=since)
    turns = client.threads.list_traces(THREAD, project_id=project_id, selects=["TURN_NUMBER"], page_size=1)
    sums = await client.threads.stats(THREAD, session_id=project_id, selects=["TURNS"])
    traces = client.traces.query(project_id=project_id, min_start_time=since)
    return {
        "queried": [[thread.thread_id, thread.count] async for thread in queried],
        "traces": [trace.turn_number async for trace in turns],
        "sums": sums.turns,
        "roots": len([trace async for trace in traces]),
    }


async def resources(run: str, project: str) -> dict[str, Any]:
    """Shares, sums and projects of the second generation."""
    project_id = str(client.read_project(project_name=project).id)
    since = START - datetime.timedelta(days=1)
    share = client.runs.share
    token = (await share.create(run, session_id=project_id, trace_id=run)).share_token
    again = (await share.create(run, session_id=project_id, trace_id=run)).share_token
    read = await client.public.runs.retrieve(run, share_token=token, start_time=START, selects=["NAME"])
    shared = [one.id for one in (await client.public.runs.query(token)).items or []]
    for _ in range(2):
        await share.delete(run, session_id=project_id)
    sums = await client.threads.aggregate_stats(
        project_id=project_id, select=["THREAD_COUNT", "TRACE_COUNT"], min_start_time=since
    )
    tree = await client.traces.list_runs(run, project_id=project_id, selects=["ID", "PARENT_RUN_IDS"])
    some = client.traces.query(project_id=project_id, trace_ids=[run], selects=["NAME", "TOTAL_TOKENS"])
    made = await client.sessions.create_v2(type="PROJECT", name=project + ", v2", description="what for")
    changed = await client.sessions.update_v2(made.id, description="changed")
    listed = [one.id async for one in client.sessions.list_v2(name=made.name)]
    with_stats = await client.sessions.retrieve_v2(project_id, include_stats=True)
    await client.sessions.delete(made.id)
    return {
        "shared": [token == again, read.name, shared == [run]],
        "sums": [sums.thread_count, sums.trace_count],
        "tree": [[one.id == run, one.parent_run_ids] for one in tree.items or []],
        "roots": [one.root_run.name async for one in some],
        "projects": [changed.description, listed == [made.id], with_stats.run_count],
        "gone": [one.id async for one in client.sessions.list_v2(name=made.name)],
    }


def main() -> None:
    # The newest SDK says that some of these methods go in 2027; until then its users call them.
    warnings.simplefilter("ignore")
    name = PROJECT + " anew"
    document: dict[str, Any] = {"projects": projects()}
    run = next(str(run.id) for run in client.list_runs(project_name=name))
    document |= {
        "feedback": feedback(run),
        "full feedback": full_feedback(run),
        "tokens": tokens(run),
        "configs": configs(),
        "shares": shares(run),
        "threads": threads(name),
        "shared by choice": shared_by_choice(run),
        "lists": lists(name),
    }
    if hasattr(client, "public"):
        document["resources"] = asyncio.run(resources(run, name))
    client.delete_project(project_name=name)
    document["deleted"] = client.has_project(name)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
