"""Setting and deleting how feedback is to be understood, by events that say so.

Each is done within a transaction that holds the head, where nobody else can change what it begins with.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from events import log
from events.dialect import Writer
from events.errors import LogError
from events.jsontext import dumps, loads
from events.kinds import (
    FeedbackConfigDeleted,
    FeedbackConfigSet,
    feedback_config_payload,
    feedback_config_stream,
)
from events.log import Head, NewEvent, Submission, seal
from events.receipts import Origin
from projections import feedback_configs, projector
from projections.feedback_configs import FeedbackConfig, config_id_of
from projections.status import StatusRule

Config = Mapping[str, Any]


class NoSuchConfig(LogError):
    """Nobody said how feedback with this key is to be understood."""


class ConfigExists(LogError):
    """It was said otherwise already how feedback with this key is to be understood."""


@dataclass(frozen=True, slots=True)
class ConfigChanging:
    """Who changes configurations, and where: within a transaction of the writer that holds the head."""

    writer: Writer
    head: Head
    origin: Origin
    rule: StatusRule
    now: int

    async def create(self, key: str, config: Config, *, is_lower_score_better: bool | None) -> None:
        """Configure a key. The same may be said again; raises `ConfigExists` when something else was said."""
        known = await self._known(config_id_of(key))
        if known is not None and loads(known.config.encode()) != config:
            raise ConfigExists(f"there is another configuration of {key!r} already: change it with PATCH")
        await self._set(key, config, is_lower_score_better)

    async def patch(
        self,
        key: str,
        change: Callable[[Config], Config],
        *,
        is_lower_score_better: bool | None,
    ) -> None:
        """Change the configuration of a key. Raises `NoSuchConfig`, and whatever the change raises."""
        known = await self._known(config_id_of(key))
        if known is None:
            raise NoSuchConfig(f"there is no configuration of {key!r}")
        await self._set(key, change(loads(known.config.encode())), is_lower_score_better)

    async def delete(self, config_id: bytes) -> None:
        """Delete a configuration. What is not there stays so."""
        if await self._known(config_id) is not None:
            event = FeedbackConfigDeleted(config_id)
            await self._append(seal("FeedbackConfigDeleted", feedback_config_stream(config_id), b"{}", event))

    async def _set(self, key: str, config: Config, is_lower_score_better: bool | None) -> None:
        id_ = config_id_of(key)
        members = {"feedback_config": dumps(dict(config))}
        if is_lower_score_better is not None:
            members["is_lower_score_better"] = dumps(is_lower_score_better)
        event = FeedbackConfigSet(id_, key, members)
        payload = feedback_config_payload(key, members)
        await self._append(seal("FeedbackConfigSet", feedback_config_stream(id_), payload, event))

    async def _known(self, config_id: bytes) -> FeedbackConfig | None:
        return (await feedback_configs.load(self.writer, {config_id}, shard=self.head.shard)).get(config_id)

    async def _append(self, event: NewEvent) -> None:
        appended = await log.append(self.writer, self.head, [Submission(self.origin, [event])], now=self.now)
        await projector.apply(self.writer, appended.events, rule=self.rule, shard=self.head.shard)
