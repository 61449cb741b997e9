"""Traces at a steady pace for some seconds, waits until the SDK has sent what it will, and prints the runs' ids."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import langsmith
from langsmith import Client
from langsmith.run_helpers import get_current_run_tree

_PAUSE_S = 0.05

client = Client()
ids: list[str] = []


def traced(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    decorator: Callable[[Callable[..., Any]], Callable[..., Any]]
    decorator = langsmith.traceable(client=client, **options)
    return decorator


def _keep() -> None:
    tree = get_current_run_tree()
    assert tree is not None
    ids.append(str(tree.id))


@traced(run_type="llm")
def answer(number: int) -> dict[str, int]:
    _keep()
    time.sleep(_PAUSE_S)
    return {"number": number}


@traced()
def agent(number: int) -> Any:
    _keep()
    return answer(number)


if __name__ == "__main__":
    give_up = time.monotonic() + json.load(sys.stdin)["seconds"]
    while time.monotonic() < give_up:
        agent(len(ids))
    client.flush()
    print(json.dumps({"ids": ids}))
