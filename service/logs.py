"""Log lines: one JSON object each, or readable text. Every line names the request it was written for."""

import logging
import sys
import time
from contextvars import ContextVar
from typing import Final, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.orjson import OrjsonFormatter

request_id: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""The id of the request that is being answered, or None outside of any."""

_TEXT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)-8s %(request)s%(name)s: %(message)s"
_TEXT_TIME: Final = "%Y-%m-%dT%H:%M:%S"
_JSON_FIELDS: Final = ("levelname", "name", "message", "request_id")


def configure_logging(level: str, line_format: str, stream: TextIO | None = None) -> None:
    """Send every logger's lines of `level` and above to `stream` (standard error), as `json` or as `text`.

    `auto` is text where the stream is a terminal: people read there, and programs read what is in pipes and files.
    Replaces what was configured before. Uvicorn's loggers go the same way, except its own access lines.
    """
    stream = stream or sys.stderr
    is_text = line_format == "text" or (line_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.addFilter(_name_request)
    handler.setFormatter(_text_lines() if is_text else _json_lines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Alembic tells at INFO how it looks at a database, which every health check does.
    logging.getLogger("alembic").setLevel(max(logging.WARNING, logging.getLogger().level))


def _name_request(record: logging.LogRecord) -> bool:
    record.request_id = identity = request_id.get()
    record.request = f"[{identity}] " if identity else ""
    return True


def _json_lines() -> logging.Formatter:
    return OrjsonFormatter(
        _JSON_FIELDS,
        rename_fields={"levelname": "level", "name": "logger"},
        reserved_attrs=[*RESERVED_ATTRS, "request", "color_message"],
        timestamp=True,
    )


def _text_lines() -> logging.Formatter:
    formatter = logging.Formatter(_TEXT, _TEXT_TIME)
    formatter.converter = time.gmtime
    return formatter
