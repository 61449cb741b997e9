import io
import logging
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from service.logs import configure_logging, request_id


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, alembic = logging.getLogger(), logging.getLogger("alembic")
    handlers, level, alembic_level = root.handlers[:], root.level, alembic.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    alembic.setLevel(alembic_level)


def lines(level: str, line_format: str, write: Any) -> list[str]:
    stream = io.StringIO()
    configure_logging(level, line_format, stream)
    write()
    return stream.getvalue().splitlines()


def test_a_json_line_has_level_logger_message_time_request_and_what_was_added() -> None:
    token = request_id.set("r-1")
    [line] = lines("INFO", "json", lambda: logging.getLogger("spy").info("kept %d", 3, extra={"project": "p"}))
    request_id.reset(token)
    record = orjson.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", record.pop("timestamp"))
    assert record == {
        "level": "INFO",
        "logger": "spy",
        "message": "kept 3",
        "request_id": "r-1",
        "project": "p",
    }


def test_a_json_line_holds_a_whole_traceback() -> None:
    def fail() -> None:
        try:
            raise ValueError("no\nsuch thing")
        except ValueError:
            logging.getLogger("spy").exception("failed")

    [line] = lines("INFO", "json", fail)
    assert orjson.loads(line)["exc_info"].endswith("ValueError: no\nsuch thing")


def test_a_text_line_can_be_read() -> None:
    [line] = lines("INFO", "text", lambda: logging.getLogger("spy").warning("beware"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING  spy: beware", line)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "line_format", "begins"),
    [(Terminal(), "auto", "2"), (io.StringIO(), "auto", "{"), (Terminal(), "json", "{"), (io.StringIO(), "text", "2")],
)
def test_people_at_a_terminal_read_text_and_programs_json_unless_told_otherwise(
    stream: io.StringIO, line_format: str, begins: str
) -> None:
    configure_logging("INFO", line_format, stream)
    logging.getLogger("spy").info("kept")
    assert stream.getvalue().startswith(begins)


def test_a_text_line_names_its_request() -> None:
    token = request_id.set("r-1")
    [line] = lines("INFO", "text", lambda: logging.getLogger("spy").info("kept"))
    request_id.reset(token)
    assert line.endswith("Z INFO     [r-1] spy: kept")


@pytest.mark.parametrize(("level", "logged"), [("DEBUG", 3), ("INFO", 2), ("ERROR", 1)])
def test_what_is_below_the_level_is_not_logged(level: str, logged: int) -> None:
    def write() -> None:
        for severity in (logging.DEBUG, logging.INFO, logging.ERROR):
            logging.getLogger("uvicorn.error").log(severity, "x")

    assert len(lines(level, "json", write)) == logged
