"""Requests made from the API's document, a few for each operation; `python -m tests.fuzz.requests` sends many."""

from pathlib import Path

from schemathesis.core.failures import FailureGroup

from tests.fuzz.operations import exercise, fill, operations
from tests.server import Server

# Most of the time goes into making requests up, and what is refused before it reaches the data is the same for both.
EXAMPLES = {"sqlite": 2, "postgresql": 1}


def test_every_operation_answers_as_it_is_documented(database: str, database_url: str, tmp_path: Path) -> None:
    wrong, asked = [], 0
    reaching_data = database == "postgresql"
    with Server(database_url, tmp_path) as server:
        known = fill(server.url)
        for operation in operations(server.url):
            asked += 1
            try:
                exercise(operation, server.url, known, examples=EXAMPLES[database], reaching_data=reaching_data)
            except FailureGroup as failures:
                wrong.append((operation.label, failures.exceptions))
    assert wrong == []
    assert asked > 70
