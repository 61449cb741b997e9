"""How feedback is to be understood, by its key: set, listed, changed and deleted."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import Depends, HTTPException, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from events.dialect import Writer
from events.ids import format_id, parse_id
from events.instance import Instance
from events.jsontext import loads
from events.log import Head
from events.times import format_time
from projections import feedback_configs
from projections.feedback_config_changes import Config, ConfigChanging
from projections.feedback_configs import FeedbackConfig, config_id_of
from projections.names import folded
from service.auth import Administrator, Caller, Ingester, Reader, refuse_foreign_origin
from service.ingest.intake import IntakePart, origin_of
from service.parts import EnginePart
from service.projects import InstancePart
from service.routes import LateRouter
from service.wire.errors import error_responses
from service.wire.feedback_configs import Category, ConfigBody, ConfigCreation, ConfigPatch

router = LateRouter(prefix="/feedback-configs", tags=["feedback configurations"], responses=error_responses(401, 403))

_CATEGORIES_MIN: Final = 2


@router.get("", responses=error_responses(504))
async def list_feedback_configs(
    engine: EnginePart,
    instance: InstancePart,
    _: Reader,
    key: Annotated[list[str] | None, Query(description="Only those of these keys.")] = None,
    name_contains: Annotated[str | None, Query(description="Only those whose key holds this text.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
    offset: Annotated[int, Query(ge=0, le=2**62, description="How many to skip.")] = 0,
) -> list[ConfigBody]:
    """Configurations, in the order of their keys."""
    async with engine.connect() as connection:
        found = await feedback_configs.find(connection, keys=key)
    wanted = [one for one in found if name_contains is None or folded(name_contains) in folded(one.key)]
    return [_shown(one, instance) for one in wanted[offset : offset + limit]]


@router.post("", responses=error_responses(400, 409, 503))
async def create_feedback_config(
    asked: ConfigCreation,
    request: Request,
    intake: IntakePart,
    engine: EnginePart,
    instance: InstancePart,
    caller: Ingester,
) -> ConfigBody:
    """Say how feedback with a key is to be understood. It must not have been said otherwise before."""
    config = asked.feedback_config.model_dump(exclude_none=True)

    async def work(changing: ConfigChanging) -> None:
        await changing.create(asked.feedback_key, config, is_lower_score_better=asked.is_lower_score_better)

    await _change(request, intake, caller, work)
    return await _answer(engine, instance, asked.feedback_key)


@router.patch("", responses=error_responses(400, 404, 503))
async def update_feedback_config(
    asked: ConfigPatch,
    request: Request,
    intake: IntakePart,
    engine: EnginePart,
    instance: InstancePart,
    caller: Ingester,
) -> ConfigBody:
    """Replace a configuration, or add categories to it and remove some. What is absent stays as it is."""

    def change(config: Config) -> Config:
        if asked.feedback_config is not None:
            config = asked.feedback_config.model_dump(exclude_none=True)
        if asked.add_categories or asked.remove_categories:
            config = _recategorised(config, asked.add_categories or [], asked.remove_categories or [])
        return config

    async def work(changing: ConfigChanging) -> None:
        await changing.patch(asked.feedback_key, change, is_lower_score_better=asked.is_lower_score_better)

    await _change(request, intake, caller, work)
    return await _answer(engine, instance, asked.feedback_key)


@router.delete(
    "",
    status_code=204,
    response_class=Response,
    dependencies=[Depends(refuse_foreign_origin)],
    responses=error_responses(503),
)
async def delete_feedback_config(
    request: Request,
    intake: IntakePart,
    caller: Administrator,
    feedback_key: Annotated[str | None, Query(description="Of this key.")] = None,
    id: Annotated[str | None, Query(description="With this id, in place of a key.")] = None,
) -> None:
    """Delete a configuration. What is not there stays so."""
    if (feedback_key is None) == (id is None):
        raise HTTPException(422, "expected either feedback_key or id in the query")
    config_id = parse_id(id) if feedback_key is None and id is not None else config_id_of(feedback_key or "")
    if config_id is None:
        raise HTTPException(422, f"{id!r} is not the id of a configuration: expected a UUID")
    found = config_id

    async def work(changing: ConfigChanging) -> None:
        await changing.delete(found)

    await _change(request, intake, caller, work)


def _recategorised(config: Config, added: Sequence[Category], removed: Sequence[float]) -> Config:
    """The configuration with other categories. Raises 422 when there would be too few, or two of a kind."""
    if config.get("type") != "categorical":
        raise HTTPException(422, f"only a categorical configuration has categories: this one is {config.get('type')}")
    kept = [one for one in config.get("categories") or [] if one.get("value") not in removed]
    categories: list[Mapping[str, Any]] = [*kept, *(one.model_dump(exclude_none=True) for one in added)]
    for name in ("value", "label"):
        told = [one[name] for one in categories if name in one]
        if len(set(told)) < len(told):
            raise HTTPException(422, f"two categories would have the same {name}: {sorted(map(str, told))}")
    if len(categories) < _CATEGORIES_MIN:
        raise HTTPException(422, f"{_CATEGORIES_MIN} categories have to remain, and {len(categories)} would")
    return {**config, "categories": categories}


async def _change(
    request: Request, intake: IntakePart, caller: Caller, work: Callable[[ConfigChanging], Awaitable[None]]
) -> None:
    origin = origin_of(request, caller)

    async def change(writer: Writer, head: Head, now: int) -> None:
        await work(ConfigChanging(writer, head, origin, intake.settings.status_rule, now))

    await intake.writer.command(change)


async def _answer(engine: AsyncEngine, instance: Instance, key: str) -> ConfigBody:
    async with engine.connect() as connection:
        found = await feedback_configs.find(connection, keys=[key])
    if not found:
        raise HTTPException(404, f"There is no configuration of {key!r}.")
    return _shown(found[0], instance)


def _shown(config: FeedbackConfig, instance: Instance) -> ConfigBody:
    is_lower_better = config.is_lower_score_better
    return ConfigBody(
        id=format_id(config.id),
        tenant_id=format_id(instance.tenant_id),
        feedback_key=config.key,
        feedback_config=loads(config.config.encode()),
        is_lower_score_better=None if is_lower_better is None else bool(is_lower_better),
        modified_at=format_time(config.modified_at),
    )
