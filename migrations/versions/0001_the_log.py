"""The log: events, heads, receipts, quarantine, contents, and the guards that keep events immutable."""

import secrets
import time
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Erasing is the one change that an event allows: payload, salt and event_id to NULL, all else as it was.
_KEPT = (
    *("shard", "position", "stream", "version", "kind", "recorded_at", "receipt_id", "schema_version"),
    *("codec", "payload_size", "payload_hash", "chain"),
)
_ERASED = ("payload", "payload_salt", "event_id")

_POSTGRES_GUARDS = """
CREATE FUNCTION events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF ({kept_new}) IS NOT DISTINCT FROM ({kept_old}) AND {erased} THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'events are immutable: % refused', TG_OP;
END $$;
CREATE TRIGGER events_no_change BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION events_refuse_change();
CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_refuse_change();
"""

# On SQLite what REPLACE (or UPDATE OR REPLACE) removes fires no DELETE trigger, hence the guard on INSERT. It removes
# what has the same position, event_id or rowid; a rowid that an INSERT does not name is -1 here.
_SQLITE_GUARDS = """
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are immutable: DELETE refused'); END;
CREATE TRIGGER events_no_update BEFORE UPDATE ON events
WHEN NOT ((NEW.rowid, {kept_new}) IS (OLD.rowid, {kept_old}) AND {erased})
BEGIN SELECT RAISE(ABORT, 'events are immutable: UPDATE refused'); END;
CREATE TRIGGER events_no_replace BEFORE INSERT ON events
WHEN NEW.position <= (SELECT max(position) FROM events WHERE shard = NEW.shard)
    OR EXISTS (SELECT 1 FROM events WHERE shard = NEW.shard AND stream = NEW.stream AND event_id = NEW.event_id)
    OR EXISTS (SELECT 1 FROM events WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'events are immutable: INSERT over an event refused'); END;
"""


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("stream", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("event_id", sa.LargeBinary),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("receipt_id", sa.BigInteger, nullable=False),
        sa.Column("schema_version", sa.SmallInteger, nullable=False),
        sa.Column("codec", sa.SmallInteger, nullable=False),
        sa.Column("payload_size", sa.BigInteger, nullable=False),
        sa.Column("payload_salt", sa.LargeBinary),
        sa.Column("payload_hash", sa.LargeBinary, nullable=False),
        sa.Column("chain", sa.LargeBinary, nullable=False),
        sa.Column("payload", sa.LargeBinary),
        sa.PrimaryKeyConstraint("shard", "position", name="events_pk"),
        sa.UniqueConstraint("shard", "stream", "event_id", name="events_once"),
    )
    op.create_index("events_stream", "events", ["shard", "stream", "version"])
    op.create_index("events_kind", "events", ["shard", "kind", "position"])
    op.create_table(
        "heads",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("chain", sa.LargeBinary, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("receipt_id", sa.BigInteger, nullable=False),
        sa.Column("receipt_chain", sa.LargeBinary, nullable=False),
        sa.Column("quarantine_id", sa.BigInteger, nullable=False),
        sa.Column("quarantine_chain", sa.LargeBinary, nullable=False),
        sa.Column("fold_version", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("shard", name="heads_pk"),
    )
    op.create_table(
        "receipts",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("receipt_id", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("received", sa.Integer, nullable=False),
        sa.Column("applied", sa.Integer, nullable=False),
        sa.Column("duplicate", sa.Integer, nullable=False),
        sa.Column("quarantined", sa.Integer, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("key_id", sa.Text),
        sa.Column("user_agent", sa.Text),
        sa.Column("sdk", sa.Text),
        sa.Column("sdk_version", sa.Text),
        sa.Column("remote_address", sa.Text),
        sa.Column("content_size", sa.BigInteger, nullable=False),
        sa.Column("content_hash", sa.LargeBinary),
        sa.Column("content_salt", sa.LargeBinary),
        sa.Column("content_commitment", sa.LargeBinary, nullable=False),
        sa.Column("chain", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("shard", "receipt_id", name="receipts_pk"),
    )
    op.create_table(
        "quarantine",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("quarantine_id", sa.BigInteger, nullable=False),
        sa.Column("receipt_id", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("codec", sa.SmallInteger, nullable=False),
        sa.Column("raw_size", sa.BigInteger, nullable=False),
        sa.Column("raw_salt", sa.LargeBinary),
        sa.Column("raw_hash", sa.LargeBinary, nullable=False),
        sa.Column("chain", sa.LargeBinary, nullable=False),
        sa.Column("raw", sa.LargeBinary),
        sa.Column("retried_at", sa.BigInteger),
        sa.Column("retry_receipt_id", sa.BigInteger),
        sa.Column("outcome", sa.Text),
        sa.PrimaryKeyConstraint("shard", "quarantine_id", name="quarantine_pk"),
    )
    op.create_index("quarantine_receipt", "quarantine", ["shard", "receipt_id"])
    op.create_table(
        "duplicates",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("stream", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("receipt_id", sa.BigInteger, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("shard", "stream", "version", "receipt_id", name="duplicates_pk"),
    )
    op.create_index("duplicates_receipt", "duplicates", ["shard", "receipt_id"])
    op.create_table(
        "contents",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("shard", "hash", name="contents_pk"),
    )
    op.create_table(
        "content_holders",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("stream", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("shard", "stream", "hash", name="content_holders_pk"),
    )
    op.create_index("content_holders_hash", "content_holders", ["shard", "hash"])
    op.create_table(
        "erased",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("stream", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("shard", "stream", name="erased_pk"),
    )
    op.create_table(
        "instance",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("tenant_id", sa.LargeBinary, nullable=False),
        sa.Column("signing_key", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("shard", name="instance_pk"),
    )
    _guard_events()
    _begin_shard(0)


def _guard_events() -> None:
    bind = op.get_bind()
    words = {
        "kept_new": ", ".join(f"NEW.{name}" for name in _KEPT),
        "kept_old": ", ".join(f"OLD.{name}" for name in _KEPT),
        "erased": " AND ".join(f"NEW.{name} IS NULL" for name in _ERASED),
    }
    if bind.dialect.name == "sqlite":
        for statement in _SQLITE_GUARDS.format(**words).split("END;")[:-1]:
            op.execute(statement + "END")
        return
    for statement in _POSTGRES_GUARDS.format(**words).split(";\nCREATE"):
        op.execute(statement if "CREATE" in statement else "CREATE" + statement)
    # Payloads are compressed already: PostgreSQL's own compression costs more than the rest of the insert.
    for column in ("events.payload", "contents.body", "quarantine.raw"):
        table, name = column.split(".")
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {name} SET STORAGE EXTERNAL")


def _begin_shard(shard: int) -> None:
    heads = sa.table(
        "heads",
        *(sa.column(name) for name in ("shard", "position", "chain", "recorded_at", "receipt_id")),
        *(sa.column(name) for name in ("receipt_chain", "quarantine_id", "quarantine_chain", "fold_version")),
    )
    op.execute(
        heads.insert().values(
            shard=shard,
            position=0,
            chain=bytes(32),
            recorded_at=0,
            receipt_id=0,
            receipt_chain=bytes(32),
            quarantine_id=0,
            quarantine_chain=bytes(32),
            fold_version="",
        )
    )
    columns = ("shard", "tenant_id", "signing_key", "created_at")
    instance = sa.table("instance", *(sa.column(name) for name in columns))
    op.execute(
        instance.insert().values(
            shard=shard,
            tenant_id=uuid.uuid4().bytes,
            signing_key=secrets.token_bytes(32),
            created_at=time.time_ns() // 1000,
        )
    )


def downgrade() -> None:
    for name in ("instance", "erased", "content_holders", "contents", "duplicates", "quarantine", "receipts"):
        op.drop_table(name)
    for name in ("heads", "events"):
        op.drop_table(name)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION events_refuse_change()")
