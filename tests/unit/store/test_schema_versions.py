"""Versions of the schema: going back, stores of other versions, columns that mirror records."""

from __future__ import annotations

from dataclasses import fields

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from emabench.errors import SchemaVersionError
from emabench.records import CostReading, Environment
from emabench.store import RunStore
from emabench.store.schema import tables
from emabench.store.schema import version as schema


def test_the_newest_revision_is_the_one_the_program_expects():
    script = ScriptDirectory.from_config(schema._alembic_config())
    assert script.get_heads() == [tables.SCHEMA_REVISION]


def test_every_migration_can_be_undone(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/results.db")
    with engine.begin() as connection:
        schema.migrate(connection)
        assert schema.contents(connection) is schema.Contents.STORE
        config = schema._alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()


@pytest.mark.parametrize("mode", ["read", "write"])
def test_an_older_store_names_the_command_that_upgrades_it(tmp_path, monkeypatch, mode):
    path = str(tmp_path / "results.db")
    RunStore.open(path, mode="write").close()
    monkeypatch.setattr(tables, "SCHEMA_REVISION", "9999")
    with pytest.raises(SchemaVersionError) as caught:
        RunStore.open(path, mode=mode)
    assert f"emabench db upgrade {path}" in caught.value.hint


def test_a_newer_store_asks_for_a_newer_program(tmp_path):
    path = tmp_path / "results.db"
    RunStore.open(str(path), mode="write").close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(SchemaVersionError) as caught:
        RunStore.open(str(path), mode="read")
    assert "upgrade emabench" in caught.value.hint


def test_every_reading_of_the_cost_has_a_column():
    columns = {column.name for column in tables.Cost.__table__.columns}
    assert columns == {"attempt_id", *(f.name for f in fields(CostReading))}
    assert all(c.nullable for c in tables.Cost.__table__.columns if c.name != "attempt_id")


def test_every_field_of_an_environment_has_a_column():
    columns = {column.name for column in tables.EnvironmentRow.__table__.columns}
    assert columns == {"id", "hash", *(f.name for f in fields(Environment))}
