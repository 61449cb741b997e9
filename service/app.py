"""The composition root: every part of the service, and how they are put together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from events import dialect
from events.dialect import open_writer
from events.instance import read_instance
from events.log import Submission
from events.receipts import Origin
from projections import projects as projects_read_model
from projections.words import DEFAULT_PROJECT
from service import (
    contents,
    corrections,
    dashboard,
    docs,
    feedback,
    feedback_configs,
    feedback_tokens,
    health,
    history,
    info,
    log,
    measuring,
    overview,
    pages,
    projects,
    projects_v2,
    public,
    quarantine,
    readmodels,
    receipts,
    run_queries,
    run_queries_v2,
    runs,
    shares,
    threads_v2,
    traces_v2,
)
from service.allocation import return_large_blocks
from service.connections import RECEIVE_TIMEOUT
from service.errors import UnexpectedErrors, answer_errors
from service.health import has_own_folds
from service.indexing import Indexing
from service.ingest import routes as ingest
from service.ingest.intake import Intake
from service.ingest.items import project_created
from service.ingest.memory import Memory
from service.ingest.writer import NOBODY, IngestWriter
from service.joining import join_added
from service.keys import Keyring
from service.measuring import Metered, sampling
from service.metrics import Metrics
from service.parts import now
from service.paths import API_ROOT, API_V2_ROOT, Paths
from service.probing import probing
from service.rebuild_jobs import RebuildJobs
from service.requests import AccessLog, ReadTimeout, RequestIds
from service.schema_version import require_newest
from service.settings import Settings, shared_metrics
from service.signing import Signer
from service.stopping import on_stop_signal
from service.streaming import LogFeed
from service.wire.errors import error_responses

ROOT_ROUTERS = (health.router, docs.router, pages.router)
"""What is found at the root alone."""

API_ROUTERS = (
    info.router,
    ingest.router,
    run_queries.router,
    runs.router,
    dashboard.router,
    overview.router,
    feedback_tokens.router,  # before /feedback/{feedback_id}
    feedback.router,
    feedback_configs.router,
    shares.router,
    public.router,
    projects.router,
    contents.router,
    corrections.router,
    history.router,
    log.router,
    receipts.router,
    quarantine.router,
    readmodels.router,
)
"""What is found below /api/v1, and so below /, /api and API_PREFIX."""

API_V2_ROUTERS = (
    shares.router_v2,
    run_queries_v2.router,
    projects_v2.router,
    threads_v2.router,
    traces_v2.router,
    public.router_v2,
)
"""What is found below /api/v2 alone, where the clients of LangSmith's second generation look for it."""

_DESCRIPTION = """\
A trace store that LangSmith's SDKs send their runs to.

Every path below `/api/v1` is found without that prefix as well, and below `/api`.
Every answer carries `X-Request-ID`; every error is `{"detail": …, "request_id": …}`.
"""
_GOODBYE_S = 1.0
_EXPOSED_HEADERS = ("X-Request-ID", "Retry-After", "ETag")


def create_app(settings: Settings) -> FastAPI:
    """The application. It opens the database when it starts, not before."""
    metrics = Metrics(shared_metrics())
    app = FastAPI(
        title=settings.app_name,
        version=settings.app_version,
        description=_DESCRIPTION,
        lifespan=_lifespan,
        middleware=_middleware(settings, metrics),
        redirect_slashes=False,
        openapi_url=docs.OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        responses=error_responses(422, 500),
        generate_unique_id_function=_operation_id,
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.keyring = Keyring(settings.api_keys or ())
    for router in ROOT_ROUTERS:
        router.declare(app.router)
    if settings.metrics_enabled:
        measuring.router.declare(app.router)
    for router in API_ROUTERS:
        router.declare(app.router, API_ROOT)
    for router in API_V2_ROUTERS:
        router.declare(app.router, API_V2_ROOT)
    app.router.routes.append(docs.swagger_files())
    answer_errors(app)
    return app


def open_engine(settings: Settings) -> AsyncEngine:
    """The engine for reads that the settings ask for. Connects to nothing yet."""
    return dialect.open_engine(
        settings.database_url, pool_size=settings.database_pool_size, echo=settings.database_echo
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, float]]:
    settings: Settings = app.state.settings
    return_large_blocks()
    engine = open_engine(settings)
    try:
        await require_newest(engine)
        async with engine.connect() as connection:
            app.state.instance = await read_instance(connection)
        app.state.signer = Signer(app.state.instance.signing_key)
        app.state.engine = engine
        app.state.started_at = now()
        app.state.receipt_sums = receipts.ReceiptSums()
        app.state.feed = LogFeed(engine)
        watch = app.state.feed.watch
        writing = IngestWriter(
            open_writer(settings.database_url),
            rule=settings.status_rule,
            on_commit=watch.notice,
            observer=app.state.metrics if settings.metrics_enabled else NOBODY,
        )
        async with aclosing(app.state.feed), writing as writer:
            app.state.intake = Intake(settings, writer, Memory(settings.ingest_queue_bytes))
            app.state.rebuild_jobs = RebuildJobs(settings)
            if await has_own_folds(settings, engine):
                await _create_default_project(engine, writer)
            app.state.indexing = Indexing(settings.database_url, is_on=settings.full_text)
            metered = sampling(app.state.metrics, app.state.intake, engine)
            async with join_added(settings.database_url), probing(writer), metered:

                def stop() -> None:
                    watch.stop()
                    writer.stop_soon()

                with on_stop_signal(stop), app.state.rebuild_jobs, app.state.indexing:
                    yield {RECEIVE_TIMEOUT: settings.receive_timeout}
    finally:
        with suppress(TimeoutError):  # A server that answers nothing does not say goodbye either.
            async with asyncio.timeout(_GOODBYE_S):
                await engine.dispose()


async def _create_default_project(engine: AsyncEngine, writer: IngestWriter) -> None:
    """SDKs learn the tenant's id from any project, so there has to be one before the first run."""
    async with engine.connect() as connection:
        there = await projects_read_model.find(connection, name=DEFAULT_PROJECT)
    if not there:
        await writer.submit(Submission(Origin(endpoint="start"), [project_created(DEFAULT_PROJECT)]))


def _middleware(settings: Settings, metrics: Metrics) -> list[Middleware]:
    """What every request passes on its way in, from the outermost on."""
    return [
        Middleware(RequestIds),
        Middleware(AccessLog),
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_credentials=settings.cors_credentials,
            allow_methods=settings.cors_methods,
            allow_headers=settings.cors_headers,
            expose_headers=_EXPOSED_HEADERS,
        ),
        Middleware(UnexpectedErrors, debug=settings.debug),
        Middleware(Paths, prefix=settings.api_prefix),
        *([Middleware(Metered, metrics=metrics)] if settings.metrics_enabled else []),
        Middleware(ReadTimeout, seconds=settings.request_timeout),
    ]


def _operation_id(route: APIRoute) -> str:
    return route.name
