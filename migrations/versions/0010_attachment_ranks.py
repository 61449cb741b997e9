"""Whether an attachment is a POST's or a PATCH's. Of those that are there already that was not told: a POST's."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attachments", sa.Column("rank", sa.SmallInteger, nullable=False, server_default=sa.text("2")))


def downgrade() -> None:
    op.drop_column("attachments", "rank")
