"""The migrations lead to the schema that the code expects."""

import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from emabench.errors import SchemaVersionError, StoreError
from emabench.store import RunStore
from emabench.store.schema import tables


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "results.db"
    RunStore.open(str(path), mode="write").close()
    return path


def test_a_migrated_store_equals_the_metadata(path):
    metadata = tables.Experiment.metadata
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        # SQLite reports its own names of the types, so that types are not compared.
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_another_schema_version_is_refused_with_what_to_do(path):
    database = sqlite3.connect(path)
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    database.close()
    for mode in ("read", "write"):
        with pytest.raises(SchemaVersionError) as caught:
            RunStore.open(str(path), mode=mode)
        assert caught.value.hint


def test_a_missing_folder_is_no_place_for_a_store(tmp_path):
    with pytest.raises(StoreError) as caught:
        RunStore.open(str(tmp_path / "no" / "results.db"), mode="write")
    assert caught.value.hint
