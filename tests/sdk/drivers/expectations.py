"""What a driver expects the store to hold, taken from the objects that the SDK itself filled and sent."""

import hashlib
import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import langsmith
from langsmith import Client
from langsmith._internal._serde import dumps_json
from langsmith.run_helpers import get_current_run_tree
from langsmith.run_trees import RunTree

VERSION = tuple(int(part) for part in langsmith.__version__.split("."))
# Of a new token the newest SDK passes on when it came, not what it was.
TOKENS_ARE_LEFT_OUT = VERSION >= (0, 15)


def as_sent(value: Any) -> Any:
    """`value` as the JSON that this SDK makes of it: it has rules of its own for dates, sets and messages."""
    return json.loads(dumps_json(value))


class Expectations:
    """Collects run trees and feedback while a driver runs, and prints what they came to at its end.

    A run tree is the SDK's own record of a run: what it holds once the run has ended is what was sent.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._trees: list[RunTree] = []
        self._runs: list[dict[str, Any]] = []
        self._feedback: list[dict[str, Any]] = []
        self._final_outputs: dict[Any, Any] = {}
        self._lock = threading.Lock()
        self._warnings: list[str] = []
        _collect_warnings(self._warnings)

    def keep(self, tree: RunTree | None = None) -> RunTree:
        """Expect `tree`, by default the run that is being traced here, with the fields it has in the end."""
        tree = tree or get_current_run_tree()
        if tree is None:
            raise RuntimeError("Nothing is being traced here.")
        with self._lock:
            self._trees.append(tree)
        return tree

    def note_outputs(self, tree: RunTree) -> None:
        """Expect the outputs that `tree` has now: who made them may write to them after they were sent."""
        self._final_outputs[tree.id] = as_sent(tree.outputs)

    def expect_run(self, run: dict[str, Any]) -> None:
        """Expect a run that was written without a run tree; fields that are not named are not compared."""
        self._runs.append(run)

    def expect_feedback(self, feedback: dict[str, Any]) -> None:
        self._feedback.append(feedback)

    def report(self) -> None:
        """Hand everything over to the server, then print the document as one line of JSON."""
        flush(self._client)
        document = {
            "sdk": f"langsmith-py/{langsmith.__version__}",
            "runs": [self._expected(tree) for tree in self._trees] + self._runs,
            "feedback": self._feedback,
            "warnings": self._warnings,
        }
        json.dump(document, sys.stdout, ensure_ascii=True)
        print()

    def _expected(self, tree: RunTree) -> dict[str, Any]:
        outputs = self._final_outputs[tree.id] if tree.id in self._final_outputs else as_sent(tree.outputs)
        return _expected(tree, outputs)


def flush(client: Client) -> None:
    """Wait until the server has answered for everything that was traced."""
    if hasattr(client, "flush"):
        client.flush()
    elif client.tracing_queue is not None:
        client.tracing_queue.join()


def attachment(mime_type: str, content: bytes) -> dict[str, str]:
    return {"mime_type": mime_type, "sha256": hashlib.sha256(content).hexdigest()}


def statuses(*, error: str | None, ended: bool) -> dict[str, str]:
    """The status of a run in the documented words and in LangSmith's own; if it ended, then with outputs."""
    if error:
        return {"status": "failed", "langsmith_status": "error"}
    if ended:
        return {"status": "completed", "langsmith_status": "success"}
    return {"status": "running", "langsmith_status": "pending"}


def tokens(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """The token and cost columns that a `usage_metadata` should come to; None when there is none."""
    if not usage:
        return None
    columns = {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
    }
    return columns | {key: usage[key] for key in ("total_cost",) if key in usage}


def _expected(tree: RunTree, outputs: Any) -> dict[str, Any]:
    metadata = as_sent((tree.extra or {}).get("metadata") or {})
    ended = tree.end_time is not None
    return {
        "id": str(tree.id),
        "trace_id": str(tree.trace_id),
        "parent_run_id": str(tree.parent_run_id) if tree.parent_run_id else None,
        "dotted_order": tree.dotted_order,
        "name": tree.name,
        "run_type": tree.run_type,
        "project": tree.session_name,
        "start_time": tree.start_time.isoformat(),
        "end_time": tree.end_time.isoformat() if tree.end_time else None,
        "inputs": as_sent(tree.inputs),
        "outputs": outputs,
        "error": tree.error,
        "tags": list(tree.tags or []),
        "metadata": metadata,
        "events": [_event(event) for event in as_sent(tree.events or [])],
        "usage": tokens(_usage(tree.run_type, metadata, outputs)),
        "thread_id": metadata.get("session_id") or metadata.get("thread_id"),
        "attachments": {name: _described(value) for name, value in (getattr(tree, "attachments", None) or {}).items()},
        **statuses(error=tree.error, ended=ended),
    }


def _event(event: dict[str, Any]) -> dict[str, Any]:
    if TOKENS_ARE_LEFT_OUT and event["name"] == "new_token":
        return {name: value for name, value in event.items() if name != "kwargs"}
    return event


def _usage(run_type: str, metadata: dict[str, Any], outputs: Any) -> dict[str, Any] | None:
    if run_type != "llm":
        return None
    found = metadata.get("usage_metadata") or (outputs or {}).get("usage_metadata")
    return found if isinstance(found, dict) else None


def _described(value: Any) -> dict[str, str]:
    mime_type, content = value
    return attachment(mime_type, content.read_bytes() if isinstance(content, Path) else content)


def _collect_warnings(into: list[str]) -> None:
    """Whatever the SDK would tell its user went wrong, as text."""

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            into.append(f"{record.name}: {record.getMessage()}")

    handler = Collect(logging.WARNING)
    logging.getLogger("langsmith").addHandler(handler)
    logging.getLogger("langchain_core").addHandler(handler)
