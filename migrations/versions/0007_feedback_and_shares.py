"""Feedback by its source, project and user; tokens and configurations of feedback; shared runs."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("feedback", sa.Column("project_id", sa.LargeBinary))
    op.add_column("feedback", sa.Column("source", sa.Text))
    op.add_column("feedback", sa.Column("user_id", sa.Text))
    op.create_index("feedback_project", "feedback", ["shard", "project_id"])
    op.create_table(
        "feedback_tokens",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False),
        sa.Column("run_id", sa.LargeBinary, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("shard", "id", name="feedback_tokens_pk"),
    )
    op.create_index("feedback_tokens_run", "feedback_tokens", ["shard", "run_id"])
    op.create_table(
        "feedback_configs",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("is_lower_score_better", sa.SmallInteger),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("shard", "id", name="feedback_configs_pk"),
    )
    op.create_table(
        "shares",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("run_id", sa.LargeBinary, nullable=False),
        sa.Column("token", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("shard", "run_id", name="shares_pk"),
    )
    op.create_index("shares_token", "shares", ["shard", "token"])


def downgrade() -> None:
    for name in ("shares", "feedback_configs", "feedback_tokens"):
        op.drop_table(name)
    op.drop_index("feedback_project", "feedback")
    for name in ("user_id", "source", "project_id"):
        op.drop_column("feedback", name)
