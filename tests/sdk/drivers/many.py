"""Sends the runs that it is given, each POST followed by its PATCH, and tells how long that took."""

import json
import sys
import time
import uuid
from datetime import datetime
from typing import Any

from langsmith import Client

_TIMES = ("start_time", "end_time")
_IDS = ("id", "trace_id", "parent_run_id")


def _typed(document: dict[str, Any]) -> dict[str, Any]:
    """The document as an SDK's own callers give it: ids and times as objects."""
    times = {name: datetime.fromisoformat(document[name]) for name in _TIMES if document.get(name)}
    return document | times | {name: uuid.UUID(document[name]) for name in _IDS if document.get(name)}


runs = [(_typed(post), _typed(patch)) for post, patch in json.load(sys.stdin)]
client = Client()
began = time.perf_counter()
for post, patch in runs:
    client.create_run(**post, project_name=post.pop("session_name"))
    client.update_run(patch.pop("id"), **patch)
told = time.perf_counter()
client.flush()
print(json.dumps({"told_s": told - began, "sent_s": time.perf_counter() - began}))
