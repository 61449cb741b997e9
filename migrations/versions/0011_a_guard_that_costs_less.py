"""Refuse an INSERT over an event by rolling its transaction back, where SQLite kept what would undo the statement alone.

For that SQLite opened a journal of its own for each row: a third of what inserting an event cost.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_GUARD = """
CREATE TRIGGER events_no_replace BEFORE INSERT ON events
WHEN NEW.position <= (SELECT max(position) FROM events WHERE shard = NEW.shard)
    OR EXISTS (SELECT 1 FROM events WHERE shard = NEW.shard AND stream = NEW.stream AND event_id = NEW.event_id)
    OR EXISTS (SELECT 1 FROM events WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE({resolution}, 'events are immutable: INSERT over an event refused'); END
"""


def upgrade() -> None:
    _guard_by("ROLLBACK")


def downgrade() -> None:
    _guard_by("ABORT")


def _guard_by(resolution: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER events_no_replace")
        op.execute(_GUARD.format(resolution=resolution))
