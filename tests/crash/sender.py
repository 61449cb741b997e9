"""The load of a campaign, a process of its own: `python -m tests.crash.sender`.

It writes a line before it sends a request (`sent 17`) and one when the answer is there (`acknowledged 17`), so whoever
reads the lines knows what the server owes. It sends each request until it is acknowledged, as the SDKs do, and ends
when its standard input does: what is under way then gets one more chance.
"""

import itertools
import os
import random
import threading
import time
from collections.abc import Iterator
from http.client import HTTPException
from typing import Final

import click

from tests.benchmarks.load import Client
from tests.crash.traffic import planned

_PAUSE_S: Final = 0.05
_PATIENCE_S: Final = 60.0
_SENT_TWICE: Final = 0.1


class Sender:
    """Sends from several threads, each over a connection of its own."""

    def __init__(self, url: str, seed: int, numbers: Iterator[int]) -> None:
        self._url = url
        self._seed = seed
        self._numbers = numbers
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def send(self, connections: int) -> None:
        """Send until the numbers or the standard input end."""
        threading.Thread(target=self._wait_for_end, daemon=True).start()
        threads = [threading.Thread(target=self._send_all, args=(client,)) for client in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _wait_for_end(self) -> None:
        while os.read(0, 1):
            pass
        self._ended.set()

    def _send_all(self, number_of_client: int) -> None:
        client = Client(self._url)
        source = random.Random(f"{self._seed}/{number_of_client}")
        while not self._ended.is_set() and (number := self._next()) is not None:
            if self._send_one(client, number) and source.random() < _SENT_TWICE:
                self._send_one(client, number)
        client.close()

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def _send_one(self, client: Client, number: int) -> bool:
        """Send a request until it is acknowledged, or given up; returns which."""
        body = planned(self._seed, number).body
        give_up = time.monotonic() + _PATIENCE_S
        _say(f"sent {number}")
        while True:
            last = self._ended.is_set()
            try:
                status = client.post(body)
            except (OSError, HTTPException):
                status = 0
            if status in (200, 202):
                _say(f"acknowledged {number}")
                return True
            if status not in (0, 503):
                _say(f"answered {number} {status}")
                return False
            if last or time.monotonic() > give_up:
                return False
            time.sleep(_PAUSE_S)


def _say(line: str) -> None:
    """One write, so that lines of several threads do not mix, and nothing is kept back."""
    os.write(1, f"{line}\n".encode())


@click.command()
@click.option("--url", required=True, help="Where the server is.")
@click.option("--seed", type=int, required=True, help="What requests are made from.")
@click.option("--connections", type=int, required=True, help="How many requests are under way at once.")
@click.option("--again", default="", help="Numbers of requests to send first, separated by commas.")
@click.option("--first", type=int, default=None, help="The first number of those to send then; without it, none.")
def main(url: str, seed: int, connections: int, again: str, first: int | None) -> None:
    """Send numbered requests until the standard input ends."""
    old = [int(number) for number in again.split(",") if number]
    new = iter(()) if first is None else itertools.count(first)
    Sender(url, seed, itertools.chain(old, new)).send(connections)


if __name__ == "__main__":
    main()
