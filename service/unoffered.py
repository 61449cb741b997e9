"""What LangSmith's API has and this one has not, so that whoever asks for it is told so."""

from typing import Final

_DATASETS: Final = "datasets and their examples"
_PROMPTS: Final = "prompts"
_QUEUES: Final = "annotation queues"
_EVALUATORS: Final = "evaluators that the server runs"
_NOUNS: Final = {
    "datasets": _DATASETS,
    "examples": _DATASETS,
    "annotation-queues": _QUEUES,
    "repos": _PROMPTS,
    "commits": _PROMPTS,
    "likes": _PROMPTS,
    "evaluators": _EVALUATORS,
    "online-evaluators": _EVALUATORS,
    "sandboxes": "sandboxes",
    "workspaces": "workspaces",
}
_PREFIXES: Final = frozenset({"", "api", "v1", "v2", "platform"})


def unoffered(path: str) -> str | None:
    """A sentence about what a path of LangSmith's API asks for and is not offered; None for any other path."""
    noun = next((segment for segment in path.split("/") if segment not in _PREFIXES), "")
    if noun not in _NOUNS:
        return None
    return f"Agent Spy keeps runs, projects and feedback: LangSmith's {_NOUNS[noun]} are not offered."
