"""The one task that writes: it drains what waits and commits it as one group.

A request waits here until its group is committed, so an answer means durable and readable. The group is whatever
arrived while the previous one was being committed, within bounds: under load many requests share one transaction, and
a lone request waits for nobody.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeVar

from events import log
from events.codec import Codec, restored
from events.dialect import Writer
from events.errors import FoldVersionMismatch, SchemaMismatch, Unavailable
from events.log import ERASED_REASON, Appended, Head, NewEvent, Outcome, Refused, Submission
from projections import erasure, projector
from projections.status import StatusRule
from service.ingest.memory import PATIENCE_S

logger = logging.getLogger(__name__)

T = TypeVar("T")

GROUP_EVENTS_MAX: Final = 1000
GROUP_BYTES_MAX: Final = 8_000_000
# How long requests that are nearly ready are waited for, to share a commit.
_JOIN_S: Final = 0.05
_JOIN_TURNS: Final = 3
# Folding more events than these at once would hold up every other request.
_PORTION_EVENTS_MAX: Final = 1000
_RETRY_PAUSE_S: Final = 0.2
_PURGE_PATIENCE_S: Final = 2.0
# Together with what else has to end, less than the ten seconds after which Docker kills.
_STOP_PATIENCE_S: Final = 5.0


class Stopping(Unavailable):
    """The server takes nothing more. Nothing of this request was kept."""

    def __init__(self) -> None:
        super().__init__("the server is stopping: send this again")


class Result(NamedTuple):
    """What became of one item, and why it was quarantined if it was."""

    outcome: Outcome
    reason: str | None


class Committed(NamedTuple):
    """A group of requests that was committed: what became of their items, its bytes, and how long it took."""

    outcomes: Sequence[Sequence[Outcome]]
    size: int
    seconds: float


class Observer:
    """Hears what the writer does, and must not wait for anything. This one makes nothing of it."""

    def committed(self, group: Committed) -> None:
        """A group was committed: the database works."""

    def failed(self, error: Exception, *, is_passing: bool) -> None:
        """The transaction of a group failed; if that is passing, then because of the database and not of its items."""


NOBODY: Final = Observer()


@dataclass(slots=True, eq=False)
class _Waiting:
    submission: Submission
    size: int
    since: float
    answer: "asyncio.Future[list[Result]]" = field(repr=False)


class IngestWriter:
    """Commits submissions in groups, one group at a time. Each waits `patience_s` seconds for the database at most.

    `on_commit` is called after every commit with the position at which the log ends. It must not wait for anything,
    nor must the observer.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        rule: StatusRule,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        patience_s: float = PATIENCE_S,
        on_commit: Callable[[int], None] = lambda _: None,
        observer: Observer = NOBODY,
    ) -> None:
        self._writer = writer
        self._rule: StatusRule = rule
        self._now = now
        self._patience_s = patience_s
        self._on_commit = on_commit
        self._observer = observer
        self._trouble: str | None = None
        self._taken_at = time.monotonic()
        self._waiting: deque[_Waiting] = deque()
        self._turn = asyncio.Lock()  # The connection does one transaction at a time.
        self._arrived = asyncio.Event()
        self._preparing = 0
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "IngestWriter":
        self._task = asyncio.create_task(self._run(), name="ingest writer")
        return self

    def stop_soon(self, *, patience_s: float = _STOP_PATIENCE_S) -> None:
        """The server is about to stop: give up, in so many seconds, what the database has not taken by then."""
        asyncio.get_running_loop().call_later(patience_s, self._give_up)

    def _give_up(self) -> None:
        self._stopping = True
        self._arrived.set()
        self._writer.abort()

    async def __aexit__(self, *_: object) -> None:
        """Commit what waits, then stop."""
        self._stopping = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        await self._writer.close()

    @property
    def waiting(self) -> int:
        """How many requests wait for their group."""
        return len(self._waiting)

    @property
    def trouble(self) -> str | None:
        """Why the database did not take the last transaction; None when it did."""
        return self._trouble

    @contextlib.contextmanager
    def preparing(self) -> Iterator[None]:
        """Around the work that makes a submission of a request, so that it can share the commit of others."""
        self._preparing += 1
        try:
            yield
        finally:
            self._preparing -= 1
            self._arrived.set()

    async def submit(self, submission: Submission) -> list[Result]:
        """Commit what a request brought, and say what became of each item.

        Raises `Unavailable` when the database does not take it in time. What was being committed at that moment may
        still be: the client sends it again, and then it counts as duplicate.
        """
        if self._stopping:
            raise Stopping
        size = sum(map(_size, submission.items))
        waiting = _Waiting(submission, size, time.monotonic(), asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._arrived.set()
        try:
            async with asyncio.timeout(self._patience_s):
                return await waiting.answer
        except TimeoutError:
            if self._trouble is None and time.monotonic() - self._taken_at > self._patience_s:
                self._not_taken(f"it has taken nothing for {self._patience_s:g} s")
            why = f" ({self._trouble})" if self._trouble else ""
            raise Unavailable(f"the database did not take the write in time{why}: send it again") from None

    async def command(self, work: Callable[[Writer, Head, int], Awaitable[T]]) -> T:
        """Run what a person asked for in a transaction of its own, between groups: the writer, the head, the time (µs).

        Raises `Unavailable` when the database does not take it, and whatever the work raises.
        """
        fold_version = projector.fold_version(self._rule)
        try:
            async with self._turn, self._writer.transaction():
                head = await log.lock_head(self._writer, fold_version=fold_version)
                done = await work(self._writer, head, self._now())
                moved = await log.lock_head(self._writer, fold_version=fold_version)
        except Unavailable as error:
            self._not_taken(str(error))
            raise
        self._taken()
        self._on_commit(moved.position)
        return done

    async def purge(self) -> bool:
        """Have what was erased leave the files. False when that is still to come, as it always is on PostgreSQL."""
        give_up = time.monotonic() + _PURGE_PATIENCE_S
        while time.monotonic() < give_up:
            async with self._turn:
                if await self._writer.purge():
                    return True
            await asyncio.sleep(_RETRY_PAUSE_S)
        return False

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            if not self._stopping:
                await self._let_others_join()
            group = self._next_group()
            if group:
                async with self._turn:
                    await self._commit(group)
            elif self._stopping:
                return
            else:
                self._arrived.clear()

    async def _let_others_join(self) -> None:
        """Wait for the requests that have arrived and are being prepared: a commit costs much the same for many."""
        for _ in range(_JOIN_TURNS):  # Those that the loop has read, but whose handlers had no turn yet.
            await asyncio.sleep(0)
        if self._preparing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_JOIN_S):
                    while self._preparing and not self._stopping:
                        self._arrived.clear()
                        await self._arrived.wait()
        self._arrived.set()

    def _next_group(self) -> list[_Waiting]:
        """What waits, in order, up to the bounds of a group. Requests whose client has given up are dropped."""
        group: list[_Waiting] = []
        events = size = 0
        while self._waiting:
            first = self._waiting[0]
            events += len(first.submission.items)
            size += first.size
            if group and (events > GROUP_EVENTS_MAX or size > GROUP_BYTES_MAX):
                break
            self._waiting.popleft()
            if not first.answer.done():
                group.append(first)
        return group

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        """Commit a group and answer every request in it."""
        try:
            results = await self._transact([waiting.submission for waiting in group])
        except Unavailable as error:
            self._not_taken(str(error))
            self._observer.failed(error, is_passing=True)
            await self._try_again(group, error)
        except (FoldVersionMismatch, SchemaMismatch) as error:
            _fail(group, error)
        except Exception as error:
            logger.exception("a group of %d requests was refused", len(group))
            self._observer.failed(error, is_passing=False)
            await self._commit_one_by_one(group, error)
        else:
            for waiting, result in zip(group, results, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(result)

    async def _try_again(self, group: Sequence[_Waiting], error: Exception) -> None:
        """Put back what has patience left; the database may be back in a moment."""
        impatient = time.monotonic() - self._patience_s + _RETRY_PAUSE_S
        _fail([waiting for waiting in group if self._stopping or waiting.since < impatient], error)
        self._waiting.extendleft(waiting for waiting in reversed(group) if not waiting.answer.done())
        await asyncio.sleep(_RETRY_PAUSE_S)

    async def _commit_one_by_one(self, group: Sequence[_Waiting], error: Exception) -> None:
        """Find the request that the database or a fold refuses, and in it the item, so that neighbours do not pay."""
        if len(group) > 1:
            for waiting in group:
                await self._commit([waiting])
            return
        (waiting,) = group
        try:
            cleaned = await self._without_culprits(waiting.submission)
        except Unavailable as gone:  # Nothing was learned about any item.
            await self._try_again(group, gone)
            return
        except (FoldVersionMismatch, SchemaMismatch) as mismatch:
            _fail(group, mismatch)
            return
        if cleaned is waiting.submission:
            await self._try_again(group, error)
            return
        if all(new is old for new, old in zip(cleaned.items, waiting.submission.items, strict=True)):
            _fail(group, error)  # Nothing in it is to blame, so it is we who cannot write.
            return
        waiting.submission = cleaned
        await self._commit(group)

    async def _without_culprits(self, submission: Submission) -> Submission:
        """The submission with those items refused that cannot be committed; the same one when all of them can."""
        wrong = [await self._trial_of(submission, item) for item in submission.items]
        if not any(wrong):  # None alone: so it is all of them together, or what was wrong has passed.
            together = await self._trial(submission)
            if together is None:
                return submission
            wrong = [together] * len(submission.items)
        items = [_refused(item, error) if error else item for item, error in zip(submission.items, wrong, strict=True)]
        return replace(submission, items=items)

    async def _trial_of(self, submission: Submission, item: NewEvent | Refused) -> Exception | None:
        return None if isinstance(item, Refused) else await self._trial(replace(submission, items=[item]))

    async def _trial(self, submission: Submission) -> Exception | None:
        """What goes wrong in a transaction that is rolled back. Raises what is no fault of the items."""
        try:
            with contextlib.suppress(_RolledBack):
                async with self._writer.transaction():
                    await self._append([submission])
                    raise _RolledBack
        except (Unavailable, FoldVersionMismatch, SchemaMismatch):
            raise
        except Exception as error:
            return error
        return None

    async def _transact(self, submissions: Sequence[Submission]) -> list[list[Result]]:
        began = time.monotonic()
        async with self._writer.transaction():
            appended = await self._append(submissions)
        self._taken()
        size = sum(_size(item) for submission in submissions for item in submission.items)
        self._observer.committed(Committed(appended.outcomes, size, self._taken_at - began))
        if appended.events:
            self._on_commit(appended.events[-1].position)
        return [
            [Result(outcome, _reason(outcome, item)) for outcome, item in pairs]
            for pairs in (
                zip(of_one, submission.items, strict=True)
                for of_one, submission in zip(appended.outcomes, submissions, strict=True)
            )
        ]

    async def _append(self, submissions: Sequence[Submission]) -> Appended:
        head = await log.lock_head(self._writer, fold_version=projector.fold_version(self._rule))
        appended = await log.append(self._writer, head, submissions, now=self._now(), streams_of=erasure.streams_of)
        for start in range(0, len(appended.events), _PORTION_EVENTS_MAX):
            portion = appended.events[start : start + _PORTION_EVENTS_MAX]
            await projector.apply(self._writer, portion, rule=self._rule, shard=head.shard)
            await asyncio.sleep(0)
        return appended

    def _taken(self) -> None:
        self._taken_at = time.monotonic()
        if self._trouble is not None:
            logger.info("the database takes writes again")
            self._trouble = None

    def _not_taken(self, reason: str) -> None:
        if self._trouble is None:
            logger.warning("the database does not take writes: %s", reason)
        self._trouble = reason


class _RolledBack(Exception):
    """Ends a transaction that was only a trial."""


def _fail(group: Sequence[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)


def _reason(outcome: Outcome, item: NewEvent | Refused) -> str | None:
    if isinstance(item, Refused):
        return item.reason
    return f"{item.kind}: {ERASED_REASON}" if outcome == "erased" else None


def _size(item: NewEvent | Refused) -> int:
    """How many bytes committing an item writes, but for a few."""
    if isinstance(item, Refused):
        return len(item.raw)
    return len(item.stored) + sum(len(content.body) for content in item.contents)


def _refused(item: NewEvent | Refused, error: Exception) -> Refused:
    if isinstance(item, Refused):
        return item
    raw = restored(item.payload, item.contents) if item.codec & Codec.OFFLOADED else item.payload
    return Refused(item.kind, f"{item.kind} could not be stored: {error}", raw)
