"""What one connection may cost: how long its requests may take to arrive, and how long their heads may be.

uvicorn itself waits without end for a request that has begun, and takes a head of any length.
"""

import resource
from asyncio import Transport
from time import monotonic
from typing import Final

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_BYTES_MAX: Final = 64 * 1024
# A body that goes on at this pace is waited for, however long it is.
BYTES_PER_S: Final = 1000
# Looking at each connection now and then costs requests nothing, unlike a timer of their own.
_LOOKS_PER_TIMEOUT: Final = 4
# How long a client that was refused has to read why.
_LINGER_S: Final = 1.0
RECEIVE_TIMEOUT: Final = "receive_timeout_s"


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, to clients that send within bounds.

    A head has to be there `receive_timeout_s` seconds (of the lifespan's state) after the connection or its own first
    byte. A body may take as long again, and a second more for every 1,000 bytes, until its answer is there. Else the
    answer is 408, and to a head that is too long it is 431. Time in which this server does not read does not count.

    Who is late is refused at the second look that finds so: between two looks the loop reads what has come, while a
    loop that was busy until the first may not have. Its clock stands still as long, so this has one of its own.
    """

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timeout_s: float = self.app_state[RECEIVE_TIMEOUT]
        self._is_refused = self._was_late = False
        self._expect_head()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        self._next_look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:  # A connection that is closed with bytes unread loses the answer on its way.
            return
        self._received += len(data)
        super().data_received(data)
        if self._in_head and self._received > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(431, f"The head of a request may have {HEAD_BYTES_MAX} bytes.")

    def on_message_begin(self) -> None:
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._since = monotonic()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_arriving = False
        super().on_message_complete()

    def _expect_head(self) -> None:
        self._is_arriving = self._in_head = True
        self._since = monotonic()
        self._received = 0

    def _look_later(self) -> None:
        self._next_look = self.loop.call_later(self._timeout_s / _LOOKS_PER_TIMEOUT, self._look)

    def _look(self) -> None:
        if self.flow.read_paused:
            self._since = monotonic()
        is_late = self._is_arriving and monotonic() > self._since + self._patience_s
        if is_late and self._was_late:
            self._refuse(408, f"The request took longer than {self._timeout_s:g} s to arrive (RECEIVE_TIMEOUT).")
        else:
            self._look_later()
        self._was_late = is_late

    @property
    def _patience_s(self) -> float:
        earned = 0.0 if self._in_head or self.cycle.response_complete else self._received / BYTES_PER_S
        return self._timeout_s + earned

    def _refuse(self, status: int, detail: str) -> None:
        """Answer, unless that has been done, and close the connection. Whoever reads the body hears of it."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self._in_head != is_answering and not (is_answering and self.cycle.response_started):
            self.transport.write(_answer(status, detail))
        if is_answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._is_refused = True
        self._next_look.cancel()
        self._next_look = self.loop.call_later(_LINGER_S, self.transport.close)
        if self.transport.can_write_eof():
            self.transport.write_eof()


def _answer(status: int, detail: str) -> bytes:
    body = orjson.dumps({"detail": detail, "request_id": None})
    head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    return STATUS_LINE[status] + head + body


def allow_open_files() -> None:
    """Let this process, and those it starts, have as many files and connections open as the system lets them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
