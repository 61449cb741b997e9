"""The metadata of each run, for filters. Of runs that are there already it is empty until read models are rebuilt."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("metadata", sa.Text))


def downgrade() -> None:
    op.drop_column("runs", "metadata")
