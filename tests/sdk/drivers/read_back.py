"""Reads the runs and feedback named on standard input through the SDK; prints them with the API's fields."""

import json
import sys
import warnings
from typing import Any

from expectations import as_sent, attachment  # type: ignore[import-not-found]  # It lies beside this program.
from langsmith import Client

RUN_FIELDS = (
    "id", "trace_id", "parent_run_id", "dotted_order", "name", "run_type", "start_time", "end_time",
    "inputs", "outputs", "error", "tags", "events", "extra", "status",
    "prompt_tokens", "completion_tokens", "total_tokens", "total_cost",
)  # fmt: skip
FEEDBACK_FIELDS = ("id", "run_id", "key", "score", "value", "comment", "correction")


def read_run(client: Client, run_id: str) -> dict[str, Any]:
    run = client.read_run(run_id)
    read = {field: as_sent(getattr(run, field)) for field in RUN_FIELDS if hasattr(run, field)}
    downloads = getattr(run, "attachments", None) or {}
    read["attachments"] = {
        name: attachment(info["mime_type"], info["reader"].read())
        for name, info in downloads.items()
        if isinstance(info, dict)
    }
    return read


def read_feedback(client: Client, feedback_id: str) -> dict[str, Any]:
    feedback = client.read_feedback(feedback_id)
    return {field: as_sent(getattr(feedback, field)) for field in FEEDBACK_FIELDS}


def main() -> None:
    # The newest SDK says that these methods go in 2027; until then its users call them.
    warnings.simplefilter("ignore")
    wanted = json.load(sys.stdin)
    client = Client()
    document = {
        "runs": [read_run(client, run_id) for run_id in wanted["runs"]],
        "feedback": [read_feedback(client, feedback_id) for feedback_id in wanted["feedback"]],
    }
    json.dump(document, sys.stdout)
    print()


if __name__ == "__main__":
    main()
