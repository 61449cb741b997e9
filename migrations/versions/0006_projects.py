"""Projects that people describe, rename and delete."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stats", sa.Column("errors", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("stats", sa.Column("first_tokens", sa.LargeBinary))
    op.create_table(
        "profiles",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("project_id", sa.LargeBinary, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("is_deleted", sa.SmallInteger, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("extra", sa.Text),
        sa.Column("others", sa.Text),
        sa.Column("start_time", sa.BigInteger),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("reference_dataset_id", sa.LargeBinary),
        sa.PrimaryKeyConstraint("shard", "project_id", name="profiles_pk"),
    )
    op.create_table(
        "project_names",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("named_id", sa.LargeBinary, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("project_id", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("shard", "named_id", "position", name="project_names_pk"),
    )


def downgrade() -> None:
    for name in ("project_names", "profiles"):
        op.drop_table(name)
    for name in ("first_tokens", "errors"):
        op.drop_column("stats", name)
