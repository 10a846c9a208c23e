"""What Alembic runs: the migrations on the connection that ``version.py`` hands over."""

from alembic import context

from emabench.store.schema.tables import StoreTable

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=StoreTable.metadata,
    render_as_batch=True,
)
context.run_migrations()
