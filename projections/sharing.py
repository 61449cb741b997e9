"""Sharing runs and taking that back, by events that say so."""

import uuid
from dataclasses import dataclass

from events import log
from events.dialect import Writer
from events.errors import LogError
from events.ids import format_id
from events.kinds import RunShared, RunUnshared, share_payload, share_stream
from events.log import Head, NewEvent, Submission, seal
from events.receipts import Origin
from projections import projector
from projections.reverting import NoSuchRun
from projections.shares import shares
from projections.status import StatusRule


class TokenTaken(LogError):
    """Another run is shared by this token."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Who shares runs, and where: within a transaction of the writer that holds the head."""

    writer: Writer
    head: Head
    origin: Origin
    rule: StatusRule
    now: int

    async def share(self, run_id: bytes, token: bytes | None = None) -> bytes:
        """Share a run, and with it its trace; return the token. One that is shared already keeps its own.

        Raises `NoSuchRun`, and `TokenTaken` when the token is that of another run.
        """
        known = await self._token_of(run_id)
        if known is not None:
            return known
        await self._require_run(run_id)
        token = uuid.uuid4().bytes if token is None else token
        if await self.writer.fetch(
            f"SELECT 1 FROM {shares.name} WHERE shard = ?1 AND token = ?2", self.head.shard, token
        ):
            raise TokenTaken(f"another run is shared as {format_id(token)}: choose another token, or none")
        event = RunShared(run_id, token)
        await self._append(seal("RunShared", share_stream(run_id), share_payload(token), event))
        return token

    async def unshare(self, run_id: bytes) -> None:
        """Take back that a run is shared. One that is not stays so."""
        if await self._token_of(run_id) is not None:
            await self._append(seal("RunUnshared", share_stream(run_id), b"{}", RunUnshared(run_id)))

    async def _token_of(self, run_id: bytes) -> bytes | None:
        query = f"SELECT token FROM {shares.name} WHERE shard = ?1 AND run_id = ?2"
        rows = await self.writer.fetch(query, self.head.shard, run_id)
        return bytes(rows[0][0]) if rows else None

    async def _require_run(self, run_id: bytes) -> None:
        query = (
            "SELECT 1 FROM runs r JOIN projects p ON p.shard = r.shard AND p.id = r.project_id "
            "WHERE r.shard = ?1 AND r.id = ?2 AND r.is_placeholder = 0"
        )
        if not await self.writer.fetch(query, self.head.shard, run_id):
            raise NoSuchRun(f"there is no run {format_id(run_id)}")

    async def _append(self, event: NewEvent) -> None:
        appended = await log.append(self.writer, self.head, [Submission(self.origin, [event])], now=self.now)
        await projector.apply(self.writer, appended.events, rule=self.rule, shard=self.head.shard)
