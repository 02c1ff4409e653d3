"""Connections to SQLite or PostgreSQL, and transactions."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, Select, create_engine, event, make_url, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    NoSuchModuleError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from sqlalchemy.orm import Session

from notifier.store.tables import Change, Table
from superres.errors import ConfigError, RecordError, StorageError

_MIGRATIONS = Path(__file__).parents[1] / "migrations"
_BUSY_SECONDS = 10.0
# Without these, connections to a server that has vanished hang for many minutes.
_TIMEOUTS = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_MIGRATION_LOCK = 0x5355_5052  # any number; names PostgreSQL's advisory lock for migrations


@dataclass(frozen=True)
class Database:
    """Opens transactions; safe for many threads of one process."""

    engine: Engine

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads.

        Raises ``StorageError`` when the database does not answer, and ``RecordError`` for a value
        that it cannot store (PostgreSQL: text that contains NUL); so does ``writing``.
        """
        with _named_errors(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is committed unless the block raises."""
        # SQLite then takes its write lock at the start: upgrading from a read lock may fail.
        engine = self.engine.execution_options(writes=True)
        with _named_errors(), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def value(self, statement: Select[tuple[Any]], values: Mapping[str, Any]) -> Any:
        """Returns the first column of the first row that a statement finds; None if there is none.

        It runs without a transaction, which one statement does not need: on SQLite, each call lets
        other threads run first, and requests wait for that most (benchmarks/notifier.py).
        """
        alone = self.engine.execution_options(alone=True)
        with _named_errors(), alone.connect() as connection:
            return connection.scalar(statement, values)

    def change(self) -> tuple[int, str]:
        """Returns the number that every visible change increments, and the database's name."""
        with self.reading() as session:
            number, name = session.execute(select(Change.number, Change.database)).one()
            return number, name

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()


def insert_into(session: Session, table: type[Table]) -> postgresql.Insert | sqlite.Insert:
    """Returns an insert with ``ON CONFLICT``, which both databases have but SQL has not."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def count_change(session: Session) -> None:
    """Increments the change number: this transaction changes what pages show."""
    session.execute(update(Change).values(number=Change.number + 1))


def open_database(url: str) -> Database:
    """Connects to a database and migrates its tables.

    Raises ``ConfigError`` for an unsupported URL, ``StorageError`` when it does not answer.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
            raise ArgumentError
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise ConfigError(
            "notifier.database_url: expected sqlite:///path or postgresql://user@host/name"
        ) from None
    file = ""
    if parsed.drivername == "sqlite":
        file = _prepared_file(parsed.database)
        engine = _sqlite(parsed)
    else:
        engine = create_engine(
            parsed,
            pool_size=8,
            max_overflow=24,
            pool_timeout=_BUSY_SECONDS,
            pool_pre_ping=True,
            connect_args=_TIMEOUTS | {"options": "-c statement_timeout=20000"},
        )
    with (
        _named_errors(),
        _named_damage(file),
        engine.execution_options(writes=True).begin() as connection,
    ):
        _upgrade(connection)
        # A read-only database is reported now, not when the first image is recorded.
        connection.execute(update(Change).values(number=Change.number))
    return Database(engine)


def _prepared_file(file: str | None) -> str:
    """The file of a database of SQLite, whose folder is there now."""
    if not file or file == ":memory:":
        raise ConfigError("notifier.database_url: an in-memory database cannot be shared")
    folder = Path(file).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot create: {error.strerror}") from None
    return file


def _sqlite(url: Any) -> Engine:
    engine = create_engine(
        url, pool_size=8, max_overflow=24, connect_args={"timeout": _BUSY_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        # The BEGIN below starts transactions, not a guess of the driver.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")  # in WAL mode, only power cuts lose data
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("alone", False):
            writes = options.get("writes", False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Several notifiers may start at once.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise RecordError(f"cannot be stored: {_reason(error)}") from error
    except (DBAPIError, NoConnectionLeft) as error:
        raise StorageError(f"the database does not answer: {_reason(error)}") from error


@contextmanager
def _named_damage(file: str) -> Iterator[None]:
    """Tells of a file of SQLite that is damaged, or no database, what to do with it."""
    try:
        yield
    except DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code is None or code & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        raise StorageError(
            f"{file}: {_reason(error)}; put back a copy of it, or move it away with its -wal and "
            "-shm files: a new one gets every result, but no subscriptions"
        ) from error


def _reason(error: SQLAlchemyError) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())
