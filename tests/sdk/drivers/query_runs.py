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


async def second_generation(client: Client, project: str, run_id: str) -> dict[str, Any]:
    """The same through `client.runs`, where the SDK has it."""
    project_id = str(client.read_project(project_name=project).id)
    asked: dict[str, Any] = {"project_ids": [project_id], "min_start_time": "2020-01-01T00:00:00Z"}
    runs = client.runs
    found = [run async for run in runs.query_v2(**asked, selects=SELECTS, page_size=7)]
    failed = [run.id async for run in runs.query_v2(**asked, filter='eq(status, "error")')]
    one = await runs.retrieve_v2(run_id, project_id=project_id, selects=SELECTS)
    address = await runs.get_url(run_id, project_id=project_id, trace_id=run_id)
    return {
        "ids": [run.id for run in found],
        "types": {run.id: run.run_type for run in found},
        "failed": failed,
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
        "failed": client.get_run_stats(project_names=[project], error=True)["run_count"],
        "family": family(run),
        "url": client.get_run_url(run=run, project_name=project),
        "app_path": run.app_path,
    }
    if hasattr(client, "runs"):
        document["second generation"] = asyncio.run(second_generation(client, project, root))
    json.dump(document, sys.stdout)
    print()


if __name__ == "__main__":
    main()
