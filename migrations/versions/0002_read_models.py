"""The read models: what the log is folded into. All of it can be made anew from the log."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False),
        sa.Column("trace_id", sa.LargeBinary, nullable=False),
        sa.Column("parent_run_id", sa.LargeBinary),
        sa.Column("project_id", sa.LargeBinary, nullable=False),
        sa.Column("start_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("langsmith_status", sa.Text, nullable=False),
        sa.Column("run_type", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("is_root", sa.SmallInteger, nullable=False),
        sa.Column("is_placeholder", sa.SmallInteger, nullable=False),
        sa.Column("is_trace_inferred", sa.SmallInteger, nullable=False),
        sa.Column("has_outputs", sa.SmallInteger, nullable=False),
        sa.Column("said_status", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("tags", sa.Text),
        sa.Column("reference_example_id", sa.LargeBinary),
        sa.Column("thread_id", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("provider", sa.Text),
        sa.Column("prompt_tokens", sa.BigInteger),
        sa.Column("completion_tokens", sa.BigInteger),
        sa.Column("total_tokens", sa.BigInteger),
        sa.Column("prompt_cost", sa.BigInteger),
        sa.Column("completion_cost", sa.BigInteger),
        sa.Column("total_cost", sa.BigInteger),
        sa.Column("first_token_time", sa.BigInteger),
        sa.Column("inputs_position", sa.BigInteger),
        sa.Column("outputs_position", sa.BigInteger),
        sa.Column("inputs_preview", sa.Text),
        sa.Column("outputs_preview", sa.Text),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("ranks", sa.BigInteger, nullable=False),
        sa.Column("first_recorded_at", sa.BigInteger, nullable=False),
        sa.Column("last_recorded_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("shard", "id", name="runs_pk"),
    )
    _create_partial_index("roots_name", "runs", ["shard", "name", "start_time", "id"], "is_root = 1")
    _create_partial_index("roots_project", "runs", ["shard", "project_id", "start_time", "id"], "is_root = 1")
    _create_partial_index(
        "roots_project_status", "runs", ["shard", "project_id", "status", "start_time", "id"], "is_root = 1"
    )
    _create_partial_index("roots_start", "runs", ["shard", "start_time", "id"], "is_root = 1")
    _create_partial_index("roots_status", "runs", ["shard", "status", "start_time", "id"], "is_root = 1")
    _create_partial_index("runs_inferred", "runs", ["shard", "parent_run_id"], "is_trace_inferred = 1")
    op.create_index("runs_parent", "runs", ["shard", "parent_run_id"])
    op.create_index("runs_project_start", "runs", ["shard", "project_id", "start_time"])
    op.create_index("runs_start", "runs", ["shard", "start_time"])
    op.create_index("runs_trace", "runs", ["shard", "trace_id", "start_time", "id"])
    op.create_table(
        "stats",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("hour", sa.BigInteger, nullable=False),
        sa.Column("project_id", sa.LargeBinary, nullable=False),
        sa.Column("run_type", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("runs", sa.BigInteger, nullable=False),
        sa.Column("roots", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger, nullable=False),
        sa.Column("latency_us", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("total_tokens", sa.BigInteger, nullable=False),
        sa.Column("prompt_cost", sa.BigInteger, nullable=False),
        sa.Column("completion_cost", sa.BigInteger, nullable=False),
        sa.Column("total_cost", sa.BigInteger, nullable=False),
        sa.Column("latencies", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("shard", "hour", "project_id", "run_type", "status", name="stats_pk"),
    )
    op.create_index("stats_project", "stats", ["shard", "project_id", "hour"])
    op.create_table(
        "names",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("project_id", sa.LargeBinary, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("folded", sa.Text, nullable=False),
        sa.Column("roots", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("shard", "project_id", "name", name="names_pk"),
    )
    op.create_table(
        "projects",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("runs", sa.BigInteger, nullable=False),
        sa.Column("namers", sa.BigInteger, nullable=False),
        sa.Column("is_created", sa.SmallInteger, nullable=False),
        sa.Column("first_recorded_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("shard", "id", name="projects_pk"),
    )
    op.create_index("projects_name", "projects", ["shard", "name"])
    op.create_table(
        "attachments",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("run_id", sa.LargeBinary, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("content_hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("shard", "run_id", "name", name="attachments_pk"),
    )
    op.create_table(
        "feedback",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False),
        sa.Column("run_id", sa.LargeBinary),
        sa.Column("trace_id", sa.LargeBinary),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("score", sa.Text),
        sa.Column("value", sa.Text),
        sa.Column("comment", sa.Text),
        sa.Column("correction", sa.Text),
        sa.Column("feedback_source", sa.Text),
        sa.Column("feedback_config", sa.Text),
        sa.Column("feedback_group_id", sa.Text),
        sa.Column("comparative_experiment_id", sa.Text),
        sa.Column("session_id", sa.Text),
        sa.Column("start_time", sa.Text),
        sa.Column("created_at", sa.Text),
        sa.Column("modified_at", sa.Text),
        sa.Column("extra", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("patched", sa.BigInteger, nullable=False),
        sa.Column("first_recorded_at", sa.BigInteger, nullable=False),
        sa.Column("last_recorded_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("shard", "id", name="feedback_pk"),
    )
    op.create_index("feedback_run", "feedback", ["shard", "run_id"])
    op.create_index("feedback_trace", "feedback", ["shard", "trace_id"])
    op.create_table(
        "former_places",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("place_id", sa.LargeBinary, nullable=False),
        sa.Column("run_id", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("shard", "place_id", "run_id", name="former_places_pk"),
    )
    op.create_index("former_places_run", "former_places", ["shard", "run_id"])
    op.create_table(
        "checkpoints",
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("projection", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("shard", "projection", name="checkpoints_pk"),
    )


def _create_partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    for name in ("checkpoints", "former_places", "feedback", "attachments", "projects", "names", "stats", "runs"):
        op.drop_table(name)
