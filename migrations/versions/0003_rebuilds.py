"""The rebuilds of the read models: what was asked for, how far it is, and what became of it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rebuilds",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("rebuild_id", sa.BigInteger, nullable=False),
        sa.Column("projections", sa.Text, nullable=False),
        sa.Column("trace_id", sa.LargeBinary),
        sa.Column("is_dry_run", sa.SmallInteger, nullable=False),
        sa.Column("replaces_differing", sa.SmallInteger, nullable=False),
        sa.Column("fold_version", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("events_total", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("is_cancelled", sa.SmallInteger, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("note", sa.Text),
        sa.PrimaryKeyConstraint("shard", "rebuild_id", name="rebuilds_pk"),
    )


def downgrade() -> None:
    op.drop_table("rebuilds")
