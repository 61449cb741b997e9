"""One campaign: load, a crash at a random moment, an audit, and again."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from tests.crash import audit, outages
from tests.crash.postgresql import DurablePostgresql
from tests.crash.traffic import Planned, planned
from tests.databases import Databases
from tests.server import CHECKOUT, Server

_CONNECTIONS: Final = 6
_ROUNDS_PER_DATABASE: Final = 10
_ANSWERS_BEFORE_MAX: Final = 100
_ANSWERS_AFTER: Final = 20
_DELAY_S_MAX: Final = 0.05


class Crash(Enum):
    """What is ended without warning. The server is started again; PostgreSQL's processes come back under it."""

    SERVER = "kill -9 of the server"
    TERMINATED = "pg_terminate_backend of the writers"
    BACKEND = "kill -9 of a PostgreSQL backend"
    POSTGRESQL = "immediate stop of PostgreSQL"
    AWAY = "immediate stop of PostgreSQL, and a start later"
    FROZEN = "PostgreSQL's processes, halted and continued later"
    LOCKED = "another process's lock on the SQLite file, let go later"
    FULL = "no room for the SQLite file, and room again later"


class Failed(Exception):
    """The campaign could not go on. What the audit finds is not raised, but reported."""


@dataclass(slots=True)
class Tally:
    """What a campaign did and found."""

    crashes: list[Crash] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    sent: int = 0
    sendings: int = 0
    acknowledged: int = 0
    under_way: int = 0
    under_way_stored: int = 0
    items: int = 0
    events: int = 0
    duplicates: int = 0
    quarantined: int = 0
    recoveries: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The tally, for people."""
        for crash in Crash:
            if crash in self.crashes:
                yield f"{self.crashes.count(crash)} x {crash.value}"
        yield f"{self.sent} requests were sent, {self.sendings} times in all; {self.acknowledged} were acknowledged"
        yield (
            f"{self.under_way} were under way when something was ended: {self.under_way_stored} of them were stored "
            f"whole by then, {self.under_way - self.under_way_stored} not at all"
        )
        yield f"{self.items} items: {self.events} events, {self.duplicates} duplicates, {self.quarantined} quarantined"
        if self.recoveries:
            ordered = sorted(self.recoveries)
            yield (
                f"until {_ANSWERS_AFTER} more requests were acknowledged, without a restart of the server: "
                f"median {ordered[len(ordered) // 2]:.2f} s, longest {ordered[-1]:.2f} s"
            )
        mean = sum(self.seconds) / len(self.seconds)
        yield f"{mean:.1f} s a crash, {sum(self.seconds):.0f} s in all"
        yield f"wrong: {len(self.wrong)}"
        yield from (f"  {sentence}" for sentence in self.wrong)


class Load:
    """The sender, a process of its own, and what it told so far."""

    def __init__(self, url: str, seed: int, again: Sequence[int], first: int | None) -> None:
        options = ["--url", url, "--seed", str(seed), "--connections", str(_CONNECTIONS)]
        options += ["--again", ",".join(map(str, again))] if again else []
        options += ["--first", str(first)] if first is not None else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.sender", *options],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.sent: list[int] = []
        self.acknowledged: set[int] = set()
        self.answers = 0
        self.refused: list[str] = []

    def wait_for_answers(self, count: int) -> None:
        """Read on until so many more requests were acknowledged. Raises `Failed` when the sender ends before."""
        enough = self.answers + count
        while self.answers < enough:
            if not self._read():
                raise Failed(f"the sender ended after {self.answers} answers: {self.refused}")

    def end(self) -> None:
        """Let the sender end, and read to the end what it has to tell."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.wait()

    def wait(self) -> None:
        """Read to the end what a sender tells that ends by itself."""
        while self._read():
            pass
        if self._process.wait():
            raise Failed(f"the sender ended with {self._process.returncode}")

    def kill(self) -> None:
        """End the sender, whatever it does."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def _read(self) -> bool:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode().split()
        match line:
            case ["sent", number]:
                self.sent.append(int(number))
            case ["acknowledged", number]:
                self.acknowledged.add(int(number))
                self.answers += 1
            case [_, *_]:
                self.refused.append(" ".join(line))
        return bool(line)


class Campaign:
    """Crashes one after the other, ten to a database. Each comes after at most `answers_max` acknowledgements.

    What comes back later does so after `outage_s` seconds.
    """

    def __init__(
        self,
        databases: Databases,
        directory: Path,
        *,
        seed: int,
        workers: int = 1,
        answers_max: int = _ANSWERS_BEFORE_MAX,
        postgresql: DurablePostgresql | None = None,
        outage_s: float = 0,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._databases = databases
        self._directory = directory
        self._seed = seed
        self._source = random.Random(seed)
        self._workers = workers
        self._answers_max = answers_max
        self._postgresql = postgresql
        self._outage_s = outage_s
        self._report = report
        self.tally = Tally()

    def run(self, crashes: Sequence[Crash]) -> Tally:
        """Have these crashes happen. Raises `Failed` when something does not come back."""
        for first in range(0, len(crashes), _ROUNDS_PER_DATABASE):
            self._on_new_database(crashes[first : first + _ROUNDS_PER_DATABASE], self._seed + first)
        return self.tally

    def _on_new_database(self, crashes: Sequence[Crash], seed: int) -> None:
        url = self._databases.migrated()
        workers = ("--workers", str(self._workers)) if self._workers > 1 else ()
        try:
            with Server(url, self._directory, options=workers) as server:
                history = _History(url, server, seed)
                for crash in crashes:
                    began = time.monotonic()
                    self._round(history, crash)
                    self.tally.seconds.append(time.monotonic() - began)
                    self.tally.crashes.append(crash)
                    self._report(f"{len(self.tally.crashes)}: {crash.value}, {self.tally.seconds[-1]:.1f} s")
                self._finish(history)
        finally:
            self._databases.drop(url)

    def _round(self, history: "_History", crash: Crash) -> None:
        load = Load(history.server.url, history.seed, sorted(history.owed), history.next_number)
        try:
            load.wait_for_answers(self._source.randint(1, self._answers_max))
            # Half of all crashes come with an acknowledgement, the others somewhere between two.
            time.sleep(self._source.choice((0.0, self._source.uniform(0, _DELAY_S_MAX))))
            if crash is Crash.SERVER:
                history.server.kill()
                load.end()
                history.learn(load)
                self._count_under_way(history)
                history.server.start()
            else:
                self._crash_below(history, crash, load)
                load.end()
                history.learn(load)
        finally:
            load.kill()
        self._audit(history, load)

    def _crash_below(self, history: "_History", crash: Crash, load: Load) -> None:
        """Take the database, or a part of it, away from a server that goes on and has to recover by itself."""
        if crash is Crash.TERMINATED:
            self._own_postgresql.terminate_writers(history.url)
        elif crash is Crash.BACKEND:
            self._own_postgresql.kill_writers(history.url)
        else:
            with self._outage(history, crash):
                time.sleep(0 if crash is Crash.POSTGRESQL else self._outage_s)
        began = time.monotonic()
        load.wait_for_answers(_ANSWERS_AFTER)
        self.tally.recoveries.append(time.monotonic() - began)

    @property
    def _own_postgresql(self) -> DurablePostgresql:
        assert self._postgresql is not None
        return self._postgresql

    def _outage(self, history: "_History", crash: Crash) -> AbstractContextManager[None]:
        if crash is Crash.LOCKED:
            return outages.locked(history.url)
        if crash is Crash.FULL:
            return outages.without_room(history.server)
        if crash is Crash.FROZEN:
            return outages.frozen(self._own_postgresql)
        return outages.stopped(self._own_postgresql)

    def _count_under_way(self, history: "_History") -> None:
        found = asyncio.run(audit.read(history.url))
        stored = audit.present(found, {number: history.requests[number] for number in history.owed})
        self.tally.under_way += len(history.owed)
        self.tally.under_way_stored += len(stored)

    def _audit(self, history: "_History", load: Load) -> None:
        """Compare what the sender was told with what is there."""
        found = asyncio.run(audit.read(history.url))
        # With the post or patch of the same runs that was acknowledged before.
        told = {number for each in load.acknowledged for number in (each, each ^ 1)} & history.acknowledged
        new = [history.requests[number] for number in sorted(told)]
        owed = [history.requests[number] for number in sorted(history.owed)]
        self._wrong(load.refused)
        self._wrong(audit.wrong_in_log(found))
        self._wrong(audit.wrong_in_requests(found, history.requests, history.acknowledged))
        self._wrong(self._wrong_in_read_models(history.url))
        self._wrong(audit.wrong_over_http(history.server.url, new, owed))
        self.tally.sendings += len(load.sent)

    def _finish(self, history: "_History") -> None:
        """Send once more what was never acknowledged, as its senders would, and count what is there in the end."""
        load = Load(history.server.url, history.seed, sorted(history.owed), None)
        try:
            load.wait()
        finally:
            load.kill()
        history.learn(load)
        self._audit(history, load)
        if history.owed:
            self._wrong([f"requests were never acknowledged: {sorted(history.owed)}"])
        found = asyncio.run(audit.read(history.url))
        self.tally.sent += len(history.requests)
        self.tally.acknowledged += len(history.acknowledged)
        self.tally.items += sum(receipt.received for receipt in found.receipts)
        self.tally.duplicates += sum(receipt.duplicate for receipt in found.receipts)
        self.tally.quarantined += len(found.quarantine)
        self.tally.events += len(found.events)

    def _wrong_in_read_models(self, url: str) -> list[str]:
        empty_url = self._databases.migrated()
        try:
            return asyncio.run(audit.wrong_in_read_models(url, empty_url))
        finally:
            self._databases.drop(empty_url)

    def _wrong(self, sentences: Sequence[str] | Iterator[str]) -> None:
        for sentence in sentences:
            self.tally.wrong.append(f"crash {len(self.tally.crashes) + 1}: {sentence}")
            self._report(f"WRONG: {self.tally.wrong[-1]}")


class _History:
    """What was sent to one database, and what of it was acknowledged."""

    def __init__(self, url: str, server: Server, seed: int) -> None:
        self.url = url
        self.server = server
        self.seed = seed
        self.requests: dict[int, Planned] = {}
        self.acknowledged: set[int] = set()

    @property
    def owed(self) -> set[int]:
        """The requests that were sent and never acknowledged. Their senders will send them again."""
        return self.requests.keys() - self.acknowledged

    @property
    def next_number(self) -> int:
        return max(self.requests, default=-1) + 1

    def learn(self, load: Load) -> None:
        for number in load.sent:
            if number not in self.requests:
                self.requests[number] = planned(self.seed, number)
        self.acknowledged |= load.acknowledged
