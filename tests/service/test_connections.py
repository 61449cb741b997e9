"""A server that is busy does not take a client for slow whose request lies there, unread."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from socket import create_connection, socket
from typing import Any, Final

import pytest
import uvicorn

from service.connections import RECEIVE_TIMEOUT, BoundedProtocol
from tests.server import free_port

TIMEOUT_S: Final = 2.0
BUSY_S: Final = 2 * TIMEOUT_S
PATIENCE_S: Final = 60
REQUEST: Final = b"GET / HTTP/1.1\r\nHost: spy\r\nConnection: close\r\n\r\n"


class BusyProtocol(BoundedProtocol):
    """Stands for the thousand connections whose bytes are dealt with before the loop looks at its clock."""

    def data_received(self, data: bytes) -> None:
        if data == b"busy":
            time.sleep(BUSY_S)
        else:
            super().data_received(data)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        scope["state"][RECEIVE_TIMEOUT] = TIMEOUT_S
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def port() -> Iterator[int]:
    """Where a server listens, with the loop that serves users, in a thread."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, http=BusyProtocol, loop="uvloop", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    give_up = time.monotonic() + PATIENCE_S
    while not server.started and time.monotonic() < give_up:
        time.sleep(0.01)
    yield port
    server.should_exit = True
    thread.join()


def connected(port: int) -> socket:
    return create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def test_a_request_that_came_while_the_server_was_busy_is_answered(port: int) -> None:
    with closing(connected(port)) as client, closing(connected(port)) as other:
        time.sleep(TIMEOUT_S / 20)  # Until the server has both.
        other.sendall(b"busy")
        time.sleep(TIMEOUT_S / 20)  # It began to be busy.
        client.sendall(REQUEST)
        assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_a_request_that_never_comes_is_refused(port: int) -> None:
    began = time.monotonic()
    with closing(connected(port)) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began > TIMEOUT_S
