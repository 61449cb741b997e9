import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from copy import deepcopy

import pytest
from sqlalchemy import make_url

from events import verification
from events.checking import events as checking_events
from events.checking import rows as reading
from events.errors import Unavailable
from events.findings import Finding, Findings
from events.verification import verify
from tests.databases import Databases
from tests.events.histories import FOLD_VERSION, NOW_US, Log, opened, refused, some_run, submission
from tests.events.tampering import Bench, bench, campaign, drop_guards, erase, rewrite, tell_history

# Enough for every trick to be tried; `python -m tests.events.tampering` tries thousands.
TAMPERINGS = 60


async def findings_of(url: str) -> list[str]:
    return [str(finding) for finding in (await verify(url, fold_version=FOLD_VERSION)).findings]


@pytest.fixture
async def tampered(database_url: str) -> AsyncIterator[Bench]:
    async with bench(database_url) as it:
        yield it


# --- logs that are whole ----------------------------------------------------------------------------------------------


async def test_a_new_log_is_whole(database_url: str) -> None:
    report = await verify(database_url, fold_version=FOLD_VERSION)
    assert (report.is_whole, report.findings) == (True, [])
    assert [end.position for end in report.ends] == [0]


async def test_a_log_with_everything_in_it_is_whole(database_url: str) -> None:
    async with opened(database_url) as store:
        await tell_history(store)
    report = await verify(database_url, fold_version=FOLD_VERSION)
    assert report.findings == []
    assert report.rows["events"] == report.ends[0].position > 150
    assert min(report.rows[kind] for kind in ("receipts", "quarantine", "contents", "holders", "duplicates")) > 5


async def test_events_are_looked_at_one_by_one_only_where_something_is_wrong(
    tampered: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []
    take = checking_events._Events.take

    def noted(self: checking_events._Events, event: checking_events.LoggedRow, stored: bytes | None) -> None:
        looked_at.append(event.position)
        take(self, event, stored)

    monkeypatch.setattr(checking_events._Events, "take", noted)
    assert await tampered.findings() == []
    assert looked_at == []
    rows = deepcopy(tampered.rows)
    rows["events"][2]["recorded_at"] += 1
    await tampered.fill(rows)
    assert await tampered.findings() != []
    assert rows["events"][2]["position"] in looked_at


async def test_slices_of_any_size_find_a_whole_log_whole(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(database_url) as store:
        await tell_history(store)
    for rows in (1, 2, 3, 7):
        monkeypatch.setattr(verification, "_SLICE_ROWS", dict.fromkeys(verification._SLICE_ROWS, rows))
        assert await findings_of(database_url) == []


async def test_large_payloads_are_read_one_at_a_time(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_INLINE_BYTES_MAX", 0)
    async with opened(database_url) as store:
        await tell_history(store)
        assert await findings_of(database_url) == []
        await drop_guards(store)
        await store.execute("UPDATE events SET payload = :payload WHERE position = 9", payload=b"{}")
    assert await findings_of(database_url) == ["event 9: its payload is not the one that was recorded"]


async def test_processes_that_share_the_work_find_the_same(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_ALONE_EVENTS_MAX", 0)
    async with opened(database_url) as store:
        await tell_history(store)
        whole = await verify(database_url, fold_version=FOLD_VERSION, processes=2)
        await drop_guards(store)
        await store.execute("UPDATE events SET payload_size = payload_size + 1 WHERE position = 77")
    changed = await verify(database_url, fold_version=FOLD_VERSION, processes=2)
    assert whole.is_whole
    assert [(finding.place, finding.name) for finding in changed.findings] == [("event", 77)]
    assert changed.rows == whole.rows


async def test_ingest_goes_on_while_a_log_is_verified(database_url: str) -> None:
    async with opened(database_url) as store:
        await tell_history(store)
        appending = asyncio.create_task(_append_forever(store))
        reports = [await verify(database_url, fold_version=FOLD_VERSION) for _ in range(3)]
        appending.cancel()
        await asyncio.wait({appending})
    assert [report.findings for report in reports] == [[], [], []]
    assert reports[0].ends[0].position < reports[-1].ends[0].position


async def _append_forever(store: Log) -> None:
    number = 5000
    while True:
        number += 1
        await store.append(submission(some_run(number), refused(b"?")), now=NOW_US + number)
        if number % 10 == 0:
            await erase(store, number)
        await asyncio.sleep(0)


async def test_progress_ends_where_it_says_that_it_will(database_url: str) -> None:
    told: list[tuple[int, int]] = []
    async with opened(database_url) as store:
        await tell_history(store)
    await verify(database_url, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 0


async def test_a_database_that_cannot_be_read_is_unavailable(database_url: str) -> None:
    url = make_url(database_url)
    missing = url.set(database="/nowhere/at/all.db" if url.drivername.startswith("sqlite") else "nowhere")
    with pytest.raises(Unavailable):
        await verify(missing.render_as_string(hide_password=False))


# --- tampering --------------------------------------------------------------------------------------------------------


async def test_tampering_is_found_where_it_was_done(database_url: str) -> None:
    done, misses = await campaign(database_url, count=TAMPERINGS, seed=random.randrange(1_000_000))
    assert misses == []
    assert done.total() == TAMPERINGS


@pytest.mark.parametrize(
    ("table", "column", "place"),
    [
        ("events", "position", "event"),
        ("receipts", "receipt_id", "receipt"),
        ("quarantine", "quarantine_id", "quarantine"),
    ],
)
@pytest.mark.parametrize("number", [-(2**62), 0, 2**62])
async def test_a_row_with_a_number_that_was_never_given_is_missing_and_found(
    table: str, column: str, place: str, number: int, tampered: Bench
) -> None:
    rows = deepcopy(tampered.rows)
    rows[table][10][column] = number
    await tampered.fill(rows)
    findings = [(finding.place, finding.name) for finding in await tampered.findings()]
    assert findings[0] == (place, 11)
    assert (place, number) in findings


async def test_all_is_told_in_order_and_the_first_is_the_cause(tampered: Bench) -> None:
    rows = deepcopy(tampered.rows)
    rows["events"] = [row for row in rows["events"] if row["position"] not in (20, 21, 60)]
    rows["receipts"][40]["user_agent"] = "forged"
    await tampered.fill(rows)
    findings = [(finding.place, finding.name) for finding in await tampered.findings()]
    assert findings[:2] == [("event", 20), ("event", 60)]
    assert ("receipt", 41) in findings


async def test_no_more_findings_are_kept_than_asked_for(tampered: Bench) -> None:
    rows = deepcopy(tampered.rows)
    for row in rows["events"]:
        row["recorded_at"] += 1
    await tampered.fill(rows)
    report = await verify(tampered.url, fold_version=FOLD_VERSION, findings_max=3)
    assert report.found >= len(rows["events"])
    assert [finding.name for finding in report.findings] == [1, 2, 3]


async def test_an_event_that_follows_a_changed_one_is_not_blamed(tampered: Bench) -> None:
    rows = deepcopy(tampered.rows)
    rows["events"][30]["chain"] = bytes(32)
    await tampered.fill(rows)
    assert [(finding.place, finding.name) for finding in await tampered.findings()] == [("event", 31)]


async def test_events_are_not_blamed_for_their_receipt(tampered: Bench) -> None:
    rows = deepcopy(tampered.rows)
    rows["receipts"][0]["key_id"] = "forged"
    await tampered.fill(rows)
    assert [(finding.place, finding.name) for finding in await tampered.findings()] == [("receipt", 1)]


async def test_another_version_than_the_one_that_came_again_is_found(tampered: Bench) -> None:
    rows = deepcopy(tampered.rows)
    twice = {row["stream"] for row in rows["events"] if row["version"] == 2}
    row = next(row for row in rows["duplicates"] if row["stream"] in twice)
    row["version"] = 1 if row["version"] == 2 else 2
    await tampered.fill(rows)
    assert [(finding.place, finding.name) for finding in await tampered.findings()] == [("receipt", row["receipt_id"])]


async def test_a_log_that_was_rewritten_from_some_event_on_looks_whole(tampered: Bench) -> None:
    # Which is why there are attestations.
    rows = deepcopy(tampered.rows)
    rewrite(rows, next(row["position"] for row in rows["events"] if row["kind"] == "RunPatched"))
    await tampered.fill(rows)
    assert await tampered.findings() == []


@pytest.mark.parametrize(
    ("column", "value"), [("kind", "CAST(x'ff41' AS TEXT)"), ("kind", "x'41'"), ("version", "'one'"), ("chain", "7")]
)
async def test_what_only_sqlite_lets_a_column_hold_is_found(
    column: str, value: str, databases: Callable[[str], Databases]
) -> None:
    url = databases("sqlite").migrated()
    async with bench(url) as it:
        await it.store.execute(f"UPDATE events SET {column} = {value} WHERE position = 33")
        first = (await it.findings())[0]
    databases("sqlite").drop(url)
    assert (first.place, first.name) == ("event", 33)


async def test_a_head_folded_by_other_folds_is_told(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(submission(some_run(1)))
    report = await verify(database_url, fold_version="2.1/documented")
    assert [finding.place for finding in report.findings] == ["head"]
    assert "'1.1/documented'" in report.findings[0].wrong


async def test_what_was_erased_and_is_there_again_is_found(tampered: Bench) -> None:
    rows = deepcopy(tampered.rows)
    row = next(row for row in rows["events"] if row["payload"] is None)
    row.update(payload=b"{}", payload_salt=bytes(16), event_id=bytes(16))
    await tampered.fill(rows)
    first = (await tampered.findings())[0]
    assert (first.place, first.name) == ("event", row["position"])


# --- read models, and telling -----------------------------------------------------------------------------------------


async def test_read_models_are_compared_with_a_log_that_is_whole(tampered: Bench) -> None:
    report = await verify(tampered.url, compare=_one_difference)
    assert [finding.place for finding in report.findings] == ["read model"]
    assert report.comparison == "made"


async def test_read_models_are_not_compared_with_a_log_that_was_tampered_with(tampered: Bench) -> None:
    rows = deepcopy(tampered.rows)
    rows["heads"][0]["chain"] = bytes(32)
    await tampered.fill(rows)
    report = await verify(tampered.url, compare=_one_difference)
    assert [finding.place for finding in report.findings] == ["head"]
    assert report.comparison == "impossible"


async def _one_difference() -> AsyncIterator[Finding]:
    yield Finding("read model", "runs", "a row is another")


@pytest.mark.parametrize("kept_max", [1, 3])
def test_the_first_findings_are_kept_whatever_order_they_come_in(kept_max: int) -> None:
    given: Sequence[Finding] = [
        Finding("head", 0, "?"),
        Finding("receipt", 4, "?", 4, follows=True),
        Finding("event", 12, "?", 4),
        Finding("receipt", 3, "?", 3),
    ]
    for order in (given, list(reversed(given))):
        findings = Findings(kept_max)
        for finding in order:
            findings.add([finding])
        assert [finding.name for finding in findings.first] == [3, 12, 4][:kept_max]
        assert findings.count == 4
