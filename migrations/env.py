"""Runs the migrations on the connection that `service.migration` hands over, all in one transaction."""

from alembic import context


def run() -> None:
    """Run what Alembic was asked for."""
    context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


run()
