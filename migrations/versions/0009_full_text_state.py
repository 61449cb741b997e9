"""How the index of words stands. Its own tables are made when it is switched on: they can be made anew at any time."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "full_text_state",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("texts_version", sa.BigInteger, nullable=False),
        sa.Column("is_unclean", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("shard", name="full_text_state_pk"),
    )
    op.execute("INSERT INTO full_text_state (shard, texts_version, is_unclean) VALUES (0, 0, 0)")


def downgrade() -> None:
    for name in ("full_text", "full_text_old"):
        op.execute(f"DROP TABLE IF EXISTS {name}")
    op.execute("DELETE FROM checkpoints WHERE projection = 'full_text'")
    op.drop_table("full_text_state")
