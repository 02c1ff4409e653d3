"""A real PostgreSQL for tests; conftest.py lists this module in `pytest_plugins`.

`postgres` is a fresh database on one server for the whole session, which a test may stop and start.
The server has its own folder and a free port of 127.0.0.1, and ends with the tests, even when they
are killed.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from superres.service.supervisor import free_port
from tests.support.http_server import until
from tests.support.required_tools import require

_PATIENCE = 30.0
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "logging_collector": "off",
}


@dataclass
class Server:
    """A PostgreSQL server, running or stopped."""

    programs: Path
    folder: Path
    port: int
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def url(self, database: str) -> str:
        return f"postgresql://superres@127.0.0.1:{self.port}/{database}"

    def initialise(self) -> None:
        options = ["--no-sync", "--auth=trust", "--username=superres", "--encoding=UTF8"]
        done = subprocess.run(
            [*_unprivileged(), self.programs / "initdb", *options, self.folder / "data"],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.folder,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Starts it unless it is running; returns once it answers."""
        if self._process is not None:
            return
        given = _SETTINGS | {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        options = [f"--{name}={value}" for name, value in given.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *_unprivileged(),
                    self.programs / "postgres",
                    "-D",
                    self.folder / "data",
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        until(self._answers, _PATIENCE)

    def stop(self) -> None:
        """Stops it at once, like a crash; committed data is there when it starts again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_PATIENCE)
            self._process = None

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        with suppress(psycopg.OperationalError):
            self.execute("SELECT 1")
            return True
        return False


@dataclass(frozen=True)
class Postgres:
    """A database for one test, and its server."""

    server: Server
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def stop(self) -> None:
        """Stops the server like a crash."""
        self.server.stop()

    def start(self) -> None:
        """Starts the server again; returns once it answers."""
        self.server.start()


def _user() -> pwd.struct_passwd:
    """PostgreSQL refuses to run as root."""
    with suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def _unprivileged() -> list[str]:
    """The start of a command that runs without root, and ends with this process."""
    prefix = ["setpriv", "--pdeathsig", "QUIT"]
    if os.geteuid() != 0:
        return prefix
    user = _user()
    return [*prefix, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _programs() -> Path | None:
    """The programs of the newest version that Debian installed."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    versions = sorted(found, key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """One running server for the whole session."""
    programs = _programs()
    require("PostgreSQL", "make system-packages", found=programs is not None)
    require("setpriv", "install util-linux")
    assert programs is not None
    # Not in pytest's folder, which only its owner may enter; and short, as it holds a socket.
    folder = Path(tempfile.mkdtemp(prefix="superres-postgres-"))
    if os.geteuid() == 0:
        user = _user()
        os.chown(folder, user.pw_uid, user.pw_gid)
    server = Server(programs, folder, free_port())
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture
def postgres(postgres_server: Server) -> Iterator[Postgres]:
    """A fresh database; the server runs when the test begins."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    yield Postgres(postgres_server, name)
    postgres_server.start()
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")
