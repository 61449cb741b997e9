import json
import stat
from collections.abc import AsyncIterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from events.attestation import Attestation, attest, make_key, read, read_key, sign
from events.dialect import open_snapshot
from events.errors import InvalidAttestation, UnusableKey
from events.verification import verify
from tests.events.histories import FOLD_VERSION, NOW_US, Log, opened, refused, some_run, submission
from tests.events.tampering import Bench, bench, rewrite

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC_KEY = KEY.public_key().public_bytes_raw()
ATTESTATION = Attestation("i", 0, 3, bytes(32), 2, bytes(32), 1, bytes(32), "2026-01-01T00:00:00Z", PUBLIC_KEY)


async def attested(url: str) -> Attestation:
    """The end of a log, as it is read back from what was signed."""
    snapshot = open_snapshot(url)
    try:
        async with snapshot.transaction():
            (line,) = await attest(snapshot, KEY, now=NOW_US)
    finally:
        await snapshot.close()
    return read(line, signed_by=PUBLIC_KEY)


async def wrongs(url: str, *attestations: Attestation) -> list[str]:
    report = await verify(url, fold_version=FOLD_VERSION, attestations=attestations)
    return [str(finding) for finding in report.findings]


@pytest.fixture
async def told(database_url: str) -> AsyncIterator[Bench]:
    async with bench(database_url) as it:
        yield it


# --- the log, and what was attested of it -----------------------------------------------------------------------------


async def test_a_log_extends_what_was_attested_of_it(database_url: str) -> None:
    async with opened(database_url) as store:
        empty = await attested(database_url)
        await store.append(submission(some_run(1), refused(b"?")))
        first = await attested(database_url)
        await store.append(submission(some_run(2), refused(b"!")))
        last = await attested(database_url)
    assert [told.position for told in (empty, first, last)] == [0, 1, 2]
    assert (last.receipt_id, last.quarantine_id, last.time) == (2, 2, "2026-01-01T00:00:00Z")
    assert await wrongs(database_url, empty, first, last) == []


async def test_a_log_that_was_rewritten_does_not_extend_what_was_attested_before(told: Bench) -> None:
    before = await attested(told.url)
    rows = deepcopy(told.rows)
    position = next(row["position"] for row in rows["events"] if row["kind"] == "RunPatched")
    rewrite(rows, position)
    await told.fill(rows)
    assert await wrongs(told.url) == []
    assert await wrongs(told.url, before) == [
        f"attestation 2026-01-01T00:00:00Z: the chain value of event {before.position} is another now: "
        "it, or what is before it, was rewritten"
    ]
    assert await wrongs(told.url, replace(before, position=position - 1, chain=_chain_at(told, position - 1))) == []


def _chain_at(told: Bench, position: int) -> bytes:
    (value,) = (row["chain"] for row in told.rows["events"] if row["position"] == position)
    return bytes(value)


async def test_a_log_that_was_cut_with_everything_that_tells_of_it_does_not_extend_it(database_url: str) -> None:
    async with bench(database_url, history=_short) as it:
        before = await attested(database_url)
        rows = deepcopy(it.rows)
        for table in ("events", "receipts", "quarantine"):
            rows[table] = rows[table][:1]
        rows["heads"][0].update(
            position=1,
            receipt_id=1,
            quarantine_id=1,
            recorded_at=rows["receipts"][0]["received_at"],
            chain=rows["events"][0]["chain"],
            receipt_chain=rows["receipts"][0]["chain"],
            quarantine_chain=rows["quarantine"][0]["chain"],
        )
        await it.fill(rows)
        assert await wrongs(database_url) == []
        assert await wrongs(database_url, before) == [
            f"attestation 2026-01-01T00:00:00Z: {noun} 2 was the last then, and is not there now"
            for noun in ("event", "receipt", "quarantined item")
        ]


async def _short(store: Log) -> None:
    for number in (1, 2):
        await store.append(submission(some_run(number), refused(b"?")), now=NOW_US + number)


async def test_an_attestation_of_another_instance_says_so(database_url: str) -> None:
    other = replace(await attested(database_url), instance="018f0000-0000-7000-8000-000000000000")
    (wrong,) = await wrongs(database_url, other)
    assert wrong.startswith("attestation 2026-01-01T00:00:00Z: it is about the log of instance 018f0000-")


# --- signatures -------------------------------------------------------------------------------------------------------


def test_what_is_signed_is_read_back() -> None:
    assert read(sign(ATTESTATION, KEY)) == ATTESTATION


@pytest.mark.parametrize("member", ["position", "receipt_id", "quarantine_id", "shard", "chain", "time", "instance"])
def test_a_member_that_was_changed_is_refused(member: str) -> None:
    told = json.loads(sign(ATTESTATION, KEY))
    told[member] = told[member] + 1 if isinstance(told[member], int) else told[member][:-1] + "1"
    with pytest.raises(InvalidAttestation, match="the signature is not"):
        read(json.dumps(told).encode())


def test_an_attestation_by_another_key_is_refused_when_the_key_is_told() -> None:
    line = sign(ATTESTATION, KEY)
    with pytest.raises(InvalidAttestation, match=r"it is signed by 3b6a27bc.*, not by 0707"):
        read(line, signed_by=b"\7" * 32)


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"\xff", b'{"format":"agent-spy attestation 1"}'])
def test_what_is_no_attestation_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidAttestation, match="this is no attestation"):
        read(line)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_new_key_is_for_its_owner_alone_and_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(path).public_key() == made.public_key()


def test_a_new_key_never_takes_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = make_key(path)
    with pytest.raises(UnusableKey, match="cannot be written"):
        make_key(path)
    assert read_key(path).public_key() == made.public_key()


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_key(path)
    path.chmod(0o640)
    with pytest.raises(UnusableKey, match="others may read the key"):
        read_key(path)


def test_what_holds_no_key_of_this_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content, reason in ((b"?", "holds no private key"), (other, "Ed25519 is needed")):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(UnusableKey, match=reason):
            read_key(path)
    with pytest.raises(UnusableKey, match="cannot be read"):
        read_key(tmp_path / "none")
