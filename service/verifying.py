"""`agent-spy verify` and `agent-spy attest`: whether the log is as it was written, and, signed, where it ends."""

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from events import attestation
from events.attestation import Attestation
from events.dialect import open_snapshot
from events.errors import InvalidAttestation
from events.findings import Finding
from events.verification import FINDINGS_KEPT_MAX, Compare, Comparison, Report, verify
from projections import projector, rebuild
from service import schema_version
from service.app import open_engine
from service.command import CannotServe, setting, settings_of, with_database
from service.settings import Settings

_LINES_EVERY_S: Final = 5.0
_COMPARISON_SAYS: Final[dict[Comparison, str]] = {
    "made": "The read models were compared with a fold of the log.",
    "not asked for": "The read models were left out.",
    "impossible": "The read models were not compared: only a log without findings can be folded.",
}


class Changed(click.ClickException):
    """The log, or what is made of it, is not as it was written. What is wrong was printed."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        """Say nothing more."""


@click.command("verify")
@setting("database_url")
@setting("status_rule")
@click.option("--log-only", is_flag=True, help="Leave the read models out.")
@click.option(
    "--against",
    type=click.File("rb"),
    multiple=True,
    help="A file of attestations, one a line: the log must extend each. May be given several times.",
)
@click.option("--signed-by", metavar="HEX", help="The public key that the attestations must be signed by.")
@click.option(
    "--findings", type=click.IntRange(1, 10_000), default=FINDINGS_KEPT_MAX, show_default=True, help="Tell so many."
)
@click.option("--processes", type=click.IntRange(1, 64), help="Check with so many processes. Default: one a processor.")
@click.option("--json", "is_json", is_flag=True, help="Tell what came of it as one JSON document.")
def verify_command(
    log_only: bool,
    against: Sequence[Any],
    signed_by: str | None,
    findings: int,
    processes: int | None,
    is_json: bool,
    **options: Any,
) -> None:
    """Verify that the log is as it was written, byte by byte, and the read models what it says.

    Reads one moment of the database; a server beside it goes on. When the log is whole, the read models are compared
    with a fold of it. Exits with 1 when anything is wrong.
    """
    settings = settings_of(**options)
    attestations = [told for file in against for told in _attestations(file, signed_by)]
    compare = None if log_only else read_models(settings)
    with _Bar() as bar:
        report = with_database(settings, _verified(settings, attestations, compare, findings, processes, bar))
    click.echo(_as_json(report, attestations) if is_json else "\n".join(_as_text(settings, report, attestations)))
    if not report.is_whole:
        raise Changed("the log is not as it was written")


@click.command("attest")
@setting("database_url")
@click.option("--key", "path", type=click.Path(path_type=Path), required=True, help="The file of the key to sign with.")
@click.option("--new-key", is_flag=True, help="Make the key first, in a new file that only you may read.")
def attest_command(path: Path, new_key: bool, **options: Any) -> None:
    """Print where the log ends now, signed: one line of JSON. Keep it where nobody who can change the log can reach.

    `agent-spy verify --against` tells later whether the log still extends it.
    """
    settings = settings_of(**options)
    lines = with_database(settings, _attested(settings, path, new_key))
    click.echo(b"\n".join(lines))


def read_models(settings: Settings) -> Compare:
    """What compares the read models with a fold of the log: a rebuild that replaces nothing."""

    async def differing() -> AsyncIterator[Finding]:
        async for difference in rebuild.compare(settings.database_url, rule=settings.status_rule):
            yield Finding("read model", difference.table, str(difference))

    return differing


async def _verified(
    settings: Settings,
    attestations: Sequence[Attestation],
    compare: Compare | None,
    findings_max: int,
    processes: int | None,
    progress: Callable[[int, int], None],
) -> Report:
    await _require_newest(settings)
    return await verify(
        settings.database_url,
        fold_version=projector.fold_version(settings.status_rule),
        attestations=attestations,
        compare=compare,
        processes=processes,
        findings_max=findings_max,
        progress=progress,
    )


async def _attested(settings: Settings, path: Path, is_new: bool) -> list[bytes]:
    await _require_newest(settings)
    key: Ed25519PrivateKey = attestation.make_key(path) if is_new else attestation.read_key(path)
    snapshot = open_snapshot(settings.database_url)
    try:
        async with snapshot.transaction():
            return await attestation.attest(snapshot, key, now=time.time_ns() // 1000)
    finally:
        await snapshot.close()


async def _require_newest(settings: Settings) -> None:
    engine = open_engine(settings)
    try:
        await schema_version.require_newest(engine)
    finally:
        await engine.dispose()


def _attestations(file: Any, signed_by: str | None) -> Iterator[Attestation]:
    """The attestations in a file, one a line."""
    try:
        key = None if signed_by is None else bytes.fromhex(signed_by)
    except ValueError:
        raise click.BadParameter("expected hex digits", param_hint="--signed-by") from None
    lines = [(number, line) for number, line in enumerate(file.read().splitlines(), 1) if line.strip()]
    if not lines:
        raise CannotServe(f"{file.name}: there is no attestation in it")
    for number, line in lines:
        try:
            yield attestation.read(line, signed_by=key)
        except InvalidAttestation as error:
            raise CannotServe(f"{file.name}, line {number}: {error}") from None


# --- telling ----------------------------------------------------------------------------------------------------------


class _Bar:
    """Progress on standard error: a bar at a terminal, else a line every few seconds."""

    def __init__(self) -> None:
        self._file = sys.stderr
        self._bar: Any = None
        self._done = 0
        self._told_at = time.monotonic()

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def __call__(self, done: int, total: int) -> None:
        if self._file.isatty():
            if self._bar is None:
                self._bar = click.progressbar(length=total, label="Verifying", file=self._file)
            self._bar.update(done - self._done)
            self._done = done
        elif time.monotonic() - self._told_at > _LINES_EVERY_S:
            self._told_at = time.monotonic()
            click.echo(f"Verified {done:,} of about {total:,} rows.", file=self._file)


def _as_text(settings: Settings, report: Report, attestations: Sequence[Attestation]) -> Iterator[str]:
    if report.is_whole:
        events = report.rows.get("events", 0)
        counted = f"{events:,} events, {report.rows.get('receipts', 0):,} receipts"
        quarantined, contents = report.rows.get("quarantine", 0), report.rows.get("contents", 0)
        speed = f"{report.seconds:.1f} s, {events / report.seconds:,.0f} events/s"
        yield f"The log in {settings.data_place} is as it was written:"
        yield f"  {counted}, {quarantined:,} in quarantine, {contents:,} contents ({speed})."
        for end in report.ends:
            yield f"  It ends with event {end.position}, chain {end.chain.hex()}."
        for told in attestations:
            yield f"  It extends the attestation of {told.time} (event {told.position})."
        yield f"  {_COMPARISON_SAYS[report.comparison]}"
        return
    yield f"The log in {settings.data_place} is not as it was written. The first of {report.found:,} findings:"
    yield f"  {report.findings[0]}"
    yield from (f"  {finding}" for finding in report.findings[1:])
    if report.found > len(report.findings):
        yield f"  … and {report.found - len(report.findings):,} more (--findings)."
    yield _COMPARISON_SAYS[report.comparison]


def _as_json(report: Report, attestations: Sequence[Attestation]) -> str:
    document = {
        "whole": report.is_whole,
        "found": report.found,
        "findings": [
            {"place": finding.place, "name": finding.name, "wrong": finding.wrong} for finding in report.findings
        ],
        "shards": [
            {
                "shard": end.shard,
                "position": end.position,
                "chain": end.chain.hex(),
                "receipt_id": end.receipt_id,
                "receipt_chain": end.receipt_chain.hex(),
                "quarantine_id": end.quarantine_id,
                "quarantine_chain": end.quarantine_chain.hex(),
            }
            for end in report.ends
        ],
        "rows": report.rows,
        "attestations": [told.time for told in attestations],
        "read_models": report.comparison,
        "seconds": round(report.seconds, 3),
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
