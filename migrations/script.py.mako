"""${message}"""

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "raise RuntimeError('not written yet')"}


def downgrade() -> None:
    ${downgrades if downgrades else "raise RuntimeError('not written yet')"}
