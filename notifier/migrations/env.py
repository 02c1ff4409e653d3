"""Alembic's entry point: migrates on the connection that the notifier passes."""

from alembic import context

from notifier.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite cannot alter most of a table
)
with context.begin_transaction():
    context.run_migrations()
