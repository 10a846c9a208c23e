"""Opening a store: SQLite by path, PostgreSQL by URL."""

from __future__ import annotations

from sqlalchemy import Connection, Engine

from emabench.store.connection.database import Database, readable_errors
from emabench.store.connection.location import Location, check_readable, no_store, not_a_store
from emabench.store.connection.postgresql import lock_schema, server_engine
from emabench.store.connection.sqlite import reading_engine, writable_file
from emabench.store.schema.version import Contents, check_version, contents, migrate


def open_for_reading(text: str) -> Database:
    """Open a store that exists; nothing is created or changed.

    Args:
        text: path or URL.

    Raises:
        NotFoundError: nothing is there.
        StoreError: it is no store, cannot be read, or has another schema version.
    """
    place = Location.parse(text)
    engine = engine_to_read(place)
    try:
        with readable_errors(place.label), engine.connect() as connection:
            _check_is_store(connection, place)
    except BaseException:
        engine.dispose()
        raise
    return Database(engine, place.label, writable=False)


def engine_to_read(place: Location) -> Engine:
    """Return an engine for a store that exists; whether it is one is not looked at yet.

    Raises:
        NotFoundError: nothing is there.
        StoreError: what is there cannot be read.
    """
    if place.url is not None:
        return server_engine(place.url, place.label)
    assert place.path is not None
    check_readable(place.path, place.label)
    return reading_engine(place.path, place.label)


def open_for_writing(text: str) -> Database:
    """Open a store, or create it where nothing is; a file of anything else is left alone.

    Args:
        text: path or URL.

    Raises:
        StoreError: it is no store, cannot be written, or has another schema version.
    """
    place = Location.parse(text)
    if place.url is not None:
        database = Database(server_engine(place.url, place.label), place.label, writable=True)
    else:
        assert place.path is not None
        database = writable_file(place.path, place.label)
    try:
        with database.write() as session:
            connection = session.connection()
            lock_schema(connection)
            if contents(connection) is Contents.NOTHING:
                migrate(connection)
            _check_is_store(connection, place)
    except BaseException:
        database.close()
        raise
    return database


def _check_is_store(connection: Connection, place: Location) -> None:
    check_contents(connection, place)
    check_version(connection, place.label)


def check_contents(connection: Connection, place: Location) -> None:
    """Raise unless a store is there, of whatever schema version.

    Raises:
        NotFoundError: an empty database is there.
        StoreError: something else is there.
    """
    found = contents(connection)
    if found is Contents.NOTHING:  # also while another process makes its tables
        raise no_store(place.label)
    if found is not Contents.STORE:
        raise not_a_store(place.label)
