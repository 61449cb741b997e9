"""Attestations: the end of the log as it was at some time, signed, to be kept where whoever changes the log cannot.

The signature is Ed25519's over the JSON object without its member `signature`, keys sorted, no white space.
"""

import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from events import chain
from events.dialect import Snapshot
from events.errors import InvalidAttestation, UnusableKey
from events.findings import Finding
from events.ids import format_id
from events.times import format_time

FORMAT: Final = "agent-spy attestation 1"

_MODE_OF_KEYS: Final = 0o600
_FOR_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class _Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An attestation as JSON; hashes, key and signature as hex digits."""

    format: str
    instance: str
    shard: int
    position: int
    chain: str
    receipt_id: int
    receipt_chain: str
    quarantine_id: int
    quarantine_chain: str
    time: str
    public_key: str
    signature: str

    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        told = {name: value for name, value in msgspec.structs.asdict(self).items() if name != "signature"}
        return orjson.dumps(told, option=orjson.OPT_SORT_KEYS)


@dataclass(frozen=True, slots=True)
class Attestation:
    """That the log of an instance ended so at `time`, by the clock of whoever signed it with `public_key`."""

    instance: str
    shard: int
    position: int
    chain: bytes
    receipt_id: int
    receipt_chain: bytes
    quarantine_id: int
    quarantine_chain: bytes
    time: str
    public_key: bytes


# --- keys -------------------------------------------------------------------------------------------------------------


def make_key(path: Path) -> Ed25519PrivateKey:
    """A new key, in a new file that only its owner may read. Raises `UnusableKey` when the file is there already."""
    key = Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE_OF_KEYS)
    except OSError as error:
        raise UnusableKey(f"the key cannot be written: {error}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key


def read_key(path: Path) -> Ed25519PrivateKey:
    """The key in a file. Raises `UnusableKey` when there is none, or others than its owner may read it."""
    try:
        if os.name == "posix" and path.stat().st_mode & _FOR_OTHERS:
            raise UnusableKey(f"others may read the key in {path}, so anybody could sign with it: chmod 600 {path}")
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise UnusableKey(f"the key cannot be read: {error}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusableKey(f"{path} holds no private key in PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKey(f"{path} holds a key of another kind: Ed25519 is needed")
    return key


# --- signing ----------------------------------------------------------------------------------------------------------


async def attest(snapshot: Snapshot, key: Ed25519PrivateKey, *, now: int) -> list[bytes]:
    """The end of every shard, signed: a line of JSON for each. `now` is in microseconds since 1970."""
    rows = await snapshot.fetch(
        "SELECT i.tenant_id, h.shard, h.position, h.chain, h.receipt_id, h.receipt_chain, h.quarantine_id, "
        "h.quarantine_chain FROM heads h JOIN instance i ON i.shard = h.shard ORDER BY h.shard"
    )
    return [
        sign(
            Attestation(
                instance=format_id(row[0]),
                shard=row[1],
                position=row[2],
                chain=row[3],
                receipt_id=row[4],
                receipt_chain=row[5],
                quarantine_id=row[6],
                quarantine_chain=row[7],
                time=format_time(now),
                public_key=key.public_key().public_bytes_raw(),
            ),
            key,
        )
        for row in rows
    ]


def sign(attestation: Attestation, key: Ed25519PrivateKey) -> bytes:
    """The attestation as JSON, signed."""
    statement = _Statement(
        format=FORMAT,
        instance=attestation.instance,
        shard=attestation.shard,
        position=attestation.position,
        chain=attestation.chain.hex(),
        receipt_id=attestation.receipt_id,
        receipt_chain=attestation.receipt_chain.hex(),
        quarantine_id=attestation.quarantine_id,
        quarantine_chain=attestation.quarantine_chain.hex(),
        time=attestation.time,
        public_key=attestation.public_key.hex(),
        signature="",
    )
    return msgspec.json.encode(msgspec.structs.replace(statement, signature=key.sign(statement.signed()).hex()))


def read(line: bytes, *, signed_by: bytes | None = None) -> Attestation:
    """The attestation in a line of JSON, if its signature is right. Raises `InvalidAttestation`.

    Anybody can sign something with a key of his own: give the public key that it must be signed by.
    """
    try:
        told = msgspec.json.decode(line, type=_Statement)
        key, signature = bytes.fromhex(told.public_key), bytes.fromhex(told.signature)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, told.signed())
        hashes = [bytes.fromhex(text) for text in (told.chain, told.receipt_chain, told.quarantine_chain)]
    except InvalidSignature:
        raise InvalidAttestation("the signature is not that of its public key over its members") from None
    except (ValueError, msgspec.MsgspecError) as error:
        raise InvalidAttestation(f"this is no attestation: {error}") from None
    if told.format != FORMAT:
        raise InvalidAttestation(f"its format is {told.format!r}, and {FORMAT!r} is needed")
    if signed_by is not None and key != signed_by:
        raise InvalidAttestation(f"it is signed by {key.hex()}, not by {signed_by.hex()}")
    return Attestation(
        told.instance,
        told.shard,
        told.position,
        hashes[0],
        told.receipt_id,
        hashes[1],
        told.quarantine_id,
        hashes[2],
        told.time,
        key,
    )


# --- comparing --------------------------------------------------------------------------------------------------------


async def deviations(snapshot: Snapshot, attestation: Attestation) -> AsyncIterator[Finding]:
    """In what a log does not extend the one that was attested."""
    rows = await snapshot.fetch("SELECT tenant_id FROM instance WHERE shard = ?1", attestation.shard)
    found = format_id(rows[0][0]) if rows else "none"
    if found != attestation.instance:
        wrong = f"it is about the log of instance {attestation.instance}, and this one is of {found}"
        yield Finding("attestation", attestation.time, wrong)
        return
    for table, column, noun, number, value in (
        ("events", "position", "event", attestation.position, attestation.chain),
        ("receipts", "receipt_id", "receipt", attestation.receipt_id, attestation.receipt_chain),
        ("quarantine", "quarantine_id", "quarantined item", attestation.quarantine_id, attestation.quarantine_chain),
    ):
        query = f"SELECT chain FROM {table} WHERE shard = ?1 AND {column} = ?2"
        rows = await snapshot.fetch(query, attestation.shard, number)
        if number == 0:
            rows = [(chain.GENESIS,)]
        if not rows:
            wrong = f"{noun} {number} was the last then, and is not there now"
            yield Finding("attestation", attestation.time, wrong)
        elif rows[0][0] != value:
            wrong = f"the chain value of {noun} {number} is another now: it, or what is before it, was rewritten"
            yield Finding("attestation", attestation.time, wrong)
