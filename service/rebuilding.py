"""`agent-spy rebuild`: makes read models anew from the log, with progress, beside a running server or without one."""

import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import click

from events.ids import parse_id
from projections import fulltext
from projections.projector import PROJECTIONS
from projections.rebuild import Progress, Result, rebuild
from projections.rebuilds import Order, Step
from service import schema_version
from service.app import open_engine
from service.command import setting, settings_of, with_database
from service.settings import Settings

_LINES_EVERY_S: Final = 5.0
_DRAWN_EVERY_S: Final = 0.1
_BAR_CHARS: Final = 30
_SAYING: Final[dict[Step, str]] = {
    "waiting": "Beginning",
    "folding": "Folding the log",
    "settling": "Finding traces and counting",
    "comparing": "Comparing with what is live",
    "swapping": "Putting it in its place",
    "swapped": "Replaced; dropping what was live",
    "discarding": "Dropping what was made",
}


class Different(click.ClickException):
    """The read models differ from the log, and were left so. What differs was printed."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        """Say nothing more."""


@click.command("rebuild")
@setting("database_url")
@setting("status_rule")
@click.option(
    "--projection",
    type=click.Choice((*PROJECTIONS, fulltext.NAME)),
    help="One read model. names, projects, runs and stats are made together: asked for one, all four are. "
    "full_text, the index of words, is made anew only when it is asked for.",
)
@click.option("--trace", "trace", metavar="ID", help="Put the rows of one trace right, and nothing else.")
@click.option("--dry-run", is_flag=True, help="Only compare.")
@click.option("--replace", is_flag=True, help="Replace what is live though it differs.")
@click.option("--processes", type=click.IntRange(1, 64), help="Fold in so many processes. Default: up to two.")
def rebuild_command(
    projection: str | None, trace: str | None, dry_run: bool, replace: bool, processes: int | None, **options: Any
) -> None:
    """Make the read models anew from the log. Servers may go on: they serve what is live until it is replaced.

    Nothing is replaced when what is live differs from what the same folds make of the log: the first rows that differ
    are told, and the exit code is 1. Read models of other folds (a new version, another STATUS_RULE) are replaced.
    """
    settings = settings_of(**options)
    if projection is not None and trace is not None:
        raise click.UsageError("--trace puts a trace right in all read models: leave --projection out.")
    if dry_run and replace:
        raise click.UsageError("--dry-run replaces nothing: leave --replace out.")
    if projection == fulltext.NAME:
        if dry_run or replace:
            raise click.UsageError("full_text is made anew and not compared: leave --dry-run and --replace out.")
        click.echo(with_database(settings, _renewed(settings)))
        return
    order = Order(
        projections=PROJECTIONS if projection is None else (projection,),
        trace_id=None if trace is None else _trace_id(trace),
        is_dry_run=dry_run,
        replaces_differing=replace,
    )
    with _Display() as display:
        result = with_database(settings, _rebuilt(settings, order, processes, display))
    click.echo("\n".join(_told(order, result)))
    if result.outcome == "different":
        raise Different("the read models differ from the log")


def _trace_id(text: str) -> bytes:
    id_ = parse_id(text)
    if id_ is None:
        raise click.BadParameter(f"{text!r} is no UUID", param_hint="--trace")
    return id_


async def _rebuilt(settings: Settings, order: Order, processes: int | None, display: "_Display") -> Result:
    engine = open_engine(settings)
    try:
        await schema_version.require_newest(engine)
    finally:
        await engine.dispose()
    return await rebuild(settings.database_url, order, rule=settings.status_rule, processes=processes, progress=display)


async def _renewed(settings: Settings) -> str:
    """Make the index of words anew, and say how that went."""
    engine = open_engine(settings)
    began = time.monotonic()
    try:
        await schema_version.require_newest(engine)
        position = await fulltext.renew(settings.database_url, engine)
    finally:
        await engine.dispose()
    if position is None:
        raise click.ClickException("This database cannot index words: PostgreSQL needs the extension pg_trgm.")
    return f"Made anew: the index of words, up to position {position}, in {time.monotonic() - began:.1f} s."


class _Display:
    """Progress on standard error: a bar at a terminal, else a line at every step and every few seconds."""

    def __init__(self) -> None:
        self._file = sys.stderr
        self._is_drawn = self._file.isatty()
        self._step: Step = "waiting"
        self._told_at = 0.0
        self._folding_since = 0.0

    def __enter__(self) -> "_Display":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_drawn and self._told_at:
            click.echo("\r\x1b[K", nl=False, file=self._file)

    def __call__(self, progress: Progress) -> None:
        is_new = progress.step != self._step
        if is_new and progress.step == "folding":
            self._folding_since = progress.seconds
        pause = _DRAWN_EVERY_S if self._is_drawn else _LINES_EVERY_S
        if not is_new and time.monotonic() - self._told_at < pause:
            return
        self._step, self._told_at = progress.step, time.monotonic()
        text = line(progress, folding_s=progress.seconds - self._folding_since)
        if self._is_drawn:
            click.echo(f"\r\x1b[K{bar(progress)} {text}", nl=False, file=self._file)
        else:
            click.echo(text, file=self._file)


def bar(progress: Progress) -> str:
    """`[#####.....]`, as full as the events are folded."""
    done = _BAR_CHARS * progress.events // max(progress.events_total, 1)
    return f"[{'#' * done}{'.' * (_BAR_CHARS - done)}]"


def line(progress: Progress, *, folding_s: float) -> str:
    """How far a rebuild is, such as `Folding the log: 450,000 of 1,000,000 events, 61,000 a second, 9 s left`."""
    saying = _SAYING[progress.step]
    if progress.step != "folding" or not progress.events or folding_s <= 0:
        return f"{saying} ({progress.seconds:.0f} s)"
    speed = progress.events / folding_s
    left = (progress.events_total - progress.events) / speed
    counted = f"{progress.events:,} of {progress.events_total:,} events"
    return f"{saying}: {counted}, {speed:,.0f} a second, {left:.0f} s left"


def _told(order: Order, result: Result) -> Iterator[str]:
    """What became of it, for people."""
    what, are = ("the trace", "is") if order.trace_id is not None else ("the read models", "are")
    if result.differences:
        yield "These rows differed from the log, or are the first of those that did:"
        yield from (f"  {difference}" for difference in result.differences)
    match result.outcome:
        case "equal":
            yield f"Compared: {what} {are} as the log says, up to position {result.position}."
        case "different":
            yield f"Left as before: {what}. Run it with --replace to put what the log says in their place."
        case _:
            yield f"Replaced: {what} {are} as the log says, up to position {result.position}."
    speed = result.events / result.fold_seconds if result.fold_seconds else 0.0
    yield f"{result.events:,} events in {result.seconds:.1f} s; {speed:,.0f} a second until they were folded."
