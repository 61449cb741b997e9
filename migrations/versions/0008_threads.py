"""An index by which the threads of a project are found."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_WHERE = "is_root = 1 AND thread_id IS NOT NULL"


def upgrade() -> None:
    op.create_index(
        "roots_thread",
        "runs",
        ["shard", "project_id", "thread_id", "start_time", "id"],
        sqlite_where=sa.text(_WHERE),
        postgresql_where=sa.text(_WHERE),
    )


def downgrade() -> None:
    op.drop_index("roots_thread", "runs")
