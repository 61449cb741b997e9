"""Asks for runs through the SDK in every way it offers; prints the answers as one line of JSON."""

import asyncio
import datetime
import json
import sys
import warnings
from typing import Any

from langsmith import Client

SELECTS = ["ID", "NAME", "RUN_TYPE", "STATUS", "START_TIME", "INPUTS", "PARENT_RUN_IDS", "TOTAL_TOKENS", "TAGS"]


def listed(client: Client, question: dict[str, Any]) -> list[str]:
    """The ids of the runs that `list_runs` gives."""
    if "start_time" in question:
        question["start_time"] = datetime.datetime.fromisoformat(question["start_time"])
    return [str(run.id) for run in client.list_runs(**question)]


def family(run: Any) -> dict[str, Any]:
    """A run with those below it."""
    return {"id": str(run.id), "children": [family(child) for child in run.child_runs or []]}


async def second_generation(
    client: Client, project_id: str, run_id: str, questions: list[dict[str, Any]]
) -> dict[str, Any]:
    """The same through `client.runs`, where the SDK has it."""
    asked: dict[str, Any] = {"project_ids": [project_id], "min_start_time": "2020-01-01T00:00:00Z"}
    runs = client.runs
    found = [run async for run in runs.query_v2(**asked, selects=SELECTS, page_size=7)]
    answers = [[run.id async for run in runs.query_v2(**(asked | question))] for question in questions]
    streamed = None
    if hasattr(runs, "streaming") and hasattr(runs.streaming, "query_v2_items"):
        streamed = [run.id async for run in runs.streaming.query_v2_items(**asked, page_size=7)]
    one = await runs.retrieve_v2(run_id, project_id=project_id, selects=SELECTS)
    address = await runs.get_url(run_id, project_id=project_id, trace_id=run_id)
    return {
        "ids": [run.id for run in found],
        "types": {run.id: run.run_type for run in found},
        "answers": answers,
        "streamed": streamed,
        "retrieved": [one.id, one.name, one.status, one.tags],
        "url": address.url,
    }


def main() -> None:
    # The newest SDK says that these methods go in 2027; until then its users call them.
    warnings.simplefilter("ignore")
    wanted = json.load(sys.stdin)
    client = Client()
    project, root = wanted["project"], wanted["root"]
    run = client.read_run(root, load_child_runs=True)
    document = {
        "answers": [listed(client, question) for question in wanted["questions"]],
        "stats": client.get_run_stats(project_names=[project]),
        "counts": [client.get_run_stats(**sum_)["run_count"] for sum_ in wanted["sums"]],
        "limited": len(list(client.list_runs(project_name=project, limit=3))),
        "family": family(run),
        "url": client.get_run_url(run=run, project_name=project),
        "app_path": run.app_path,
    }
    if hasattr(client, "runs"):
        document["second generation"] = asyncio.run(
            second_generation(client, wanted["project_id"], root, wanted["second"])
        )
    json.dump(document, sys.stdout)
    print()


if __name__ == "__main__":
    main()
