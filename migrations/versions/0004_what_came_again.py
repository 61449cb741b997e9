"""Receipts say, hashed and chained, which events their requests brought again."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("receipts", sa.Column("repetitions_hash", sa.LargeBinary))


def downgrade() -> None:
    op.drop_column("receipts", "repetitions_hash")
