"""`GET /metrics`, and what it needs: the counting of requests, and a look at how things stand."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.responses import Response
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.dialect import stored_bytes
from events.reading import read_end
from events.schema import SHARD
from projections.projector import checkpoints
from service import keys
from service.auth import authorise
from service.background import in_background
from service.ingest.intake import Intake
from service.metrics import NO_ROUTE, Metrics
from service.parts import EnginePart, SettingsPart
from service.paths import API_ROOT
from service.routes import LateRouter
from service.wire.errors import error_responses

log = logging.getLogger(__name__)

router = LateRouter(tags=["metrics"])

_DATABASE_PATIENCE_S: Final = 2.0
_SAMPLE_S: Final = 1.0
_EXAMPLE: Final = """\
# HELP agentspy_items_total Items that were sent, by what became of them.
# TYPE agentspy_items_total counter
agentspy_items_total{outcome="applied"} 4200.0
"""
_CONTENT: Final = {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}}
_PAGE: Final[dict[int | str, dict[str, Any]]] = {200: {"content": _CONTENT, "description": "What was counted."}}


class Metered:
    """ASGI middleware: counts answers, and the seconds until each begins, by the template of their route.

    What is found below /api/v1 is named without it.

    It has to stand where the router names the route: nothing between them may replace the scope.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        is_answered = False

        async def send_noting_start(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                self._note(scope, message["status"], began)
            await send(message)

        try:
            await self._app(scope, receive, send_noting_start)
        except Exception:
            if not is_answered:
                self._note(scope, 500, began)
            raise

    def _note(self, scope: Scope, status: int, began: float) -> None:
        route = getattr(scope.get("route"), "path", NO_ROUTE).removeprefix(API_ROOT)
        self._metrics.answered(route, scope["method"], status, time.perf_counter() - began)


@router.get("/metrics", response_class=Response, responses={**_PAGE, **error_responses(401, 403)})
async def metrics(
    request: Request,
    settings: SettingsPart,
    engine: EnginePart,
    _: Annotated[object, Depends(authorise(keys.Scope.METRICS))],
) -> Response:
    """What the service has counted, for Prometheus. All workers' counts, whichever of them answers."""
    found: Metrics = request.app.state.metrics
    store = [*await read_store(engine), _version(settings.app_version)]
    sample(found, request.app.state.intake, engine)
    accept = request.headers.get("accept", "")
    page, content_type = await asyncio.to_thread(found.page, accept, store)
    return Response(page, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


async def read_store(engine: AsyncEngine) -> list[Metric]:
    """What the database tells at this moment. When it does not answer in time, that alone is told."""
    try:
        async with asyncio.timeout(_DATABASE_PATIENCE_S), engine.connect() as connection:
            head = (await read_end(connection)).position
            query = select(checkpoints.c.projection, checkpoints.c.position).where(checkpoints.c.shard == SHARD)
            lags = {name: head - position for name, position in await connection.execute(query)}
            size = await stored_bytes(connection)
    except Exception as error:  # Whatever a driver raises, what was counted is shown all the same.
        log.warning("the database tells nothing to /metrics: %s", error or type(error).__name__)
        return [_gauge("agentspy_database_up", 0)]
    lag = GaugeMetricFamily(
        "agentspy_projection_lag_events", "Events that a read model has yet to take in.", labels=["projection"]
    )
    for name, events in sorted(lags.items()):
        lag.add_metric([name], events)
    events_total = CounterMetricFamily("agentspy_log_events", "Events in the log.", value=head)
    return [_gauge("agentspy_database_up", 1), events_total, lag, _gauge("agentspy_stored_bytes", size)]


_TEXTS: Final = {
    "agentspy_database_up": "Whether the database answered this scrape within 2 s.",
    "agentspy_stored_bytes": "Bytes of the database on its disk.",
}


def _gauge(name: str, value: float) -> Metric:
    return GaugeMetricFamily(name, _TEXTS[name], value=value)


def _version(version: str) -> Metric:
    found = GaugeMetricFamily("agentspy_info", "Always 1. The label tells the version.", labels=["version"])
    found.add_metric([version], 1)
    return found


def sample(metrics: Metrics, intake: Intake, engine: AsyncEngine) -> None:
    """Note how things stand in this process."""
    pool: Any = engine.pool
    metrics.sample(
        {
            "agentspy_ingest_held_bytes": intake.memory.bytes_held,
            "agentspy_ingest_limit_bytes": intake.memory.bytes_max,
            "agentspy_ingest_waiting_requests": intake.memory.waiting + intake.writer.waiting,
            "agentspy_writes_failing": intake.writer.trouble is not None,
            "agentspy_database_pool_in_use": pool.checkedout(),
            "agentspy_database_pool_size": pool.size(),
            "agentspy_workers": 1,
        }
    )


@asynccontextmanager
async def sampling(metrics: Metrics, intake: Intake, engine: AsyncEngine) -> AsyncIterator[None]:
    """While the block runs, note every second how things stand: another worker may be asked."""
    if not metrics.is_shared:
        yield
        return

    async def sample_on() -> None:
        while True:
            sample(metrics, intake, engine)
            await asyncio.sleep(_SAMPLE_S)

    async with in_background(sample_on(), "metrics"):
        yield
