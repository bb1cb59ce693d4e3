"""The pytest plugin: light to load, its fixtures under every runner, and no way to the real API."""

from __future__ import annotations

import socket
import ssl
import textwrap
from urllib.parse import urlsplit

import pytest
from _hoox_async_pytest import PRODUCTION_HOST, ProductionBlocked, ProductionGuard

import hoox_async.testing
from hoox_async._core.settings import BASE_URL

STRICT = ("--strict-markers", "-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning")
ASYNCIO = ("-p", "asyncio", "-o", "asyncio_default_fixture_loop_scope=function", "-o", "asyncio_mode=auto")
SESSION_TEST = """
    import pytest
    from hoox_async import HooxSession, PromptAvatar

    async def check(session, sandbox):
        assert isinstance(session, HooxSession)
        job = await session.submit(PromptAvatar("a friendly host"))
        assert (await job.status()).ref == job.ref
        assert sandbox.credits_spent == 2
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of somebody else, with no plugins but those that a test names: the others take a second."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return pytester


def run(project: pytest.Pytester, source: str, *options: str, **outcomes: int) -> None:
    project.makepyfile(textwrap.dedent(source))
    result = project.runpytest_inprocess("-p", "hoox_async", *STRICT, *options)
    result.assert_outcomes(**outcomes)


@pytest.mark.slow
def test_loading_the_plugin_imports_neither_the_library_nor_aiohttp(pytester: pytest.Pytester) -> None:
    """pytest finds the plugin by itself; a run that has nothing to do with looks pays nothing for it."""
    source = """
        import sys

        def test_light():
            assert "_hoox_async_pytest" in sys.modules
            assert not {"hoox_async", "aiohttp", "attrs"} & set(sys.modules)
    """
    pytester.makepyfile(textwrap.dedent(source))
    pytester.runpytest_subprocess("-p", "no:anyio", "-p", "no:cov").assert_outcomes(passed=1)


def test_the_documented_test_passes(project: pytest.Pytester) -> None:
    """The ten lines of the kit's docstring are a test that works."""
    lines = (hoox_async.testing.__doc__ or "").split("A test in ten lines::")[1].split("- ``")[0]
    run(project, textwrap.dedent(lines), *ASYNCIO, passed=1)


def test_the_sandbox_serves_a_client_that_blocks(project: pytest.Pytester) -> None:
    """The sandbox answers while the test's own thread is stuck in a call, and is gone after the test."""
    source = """
        import json, urllib.error, urllib.request
        import pytest

        kept = []

        def get(sandbox, path):
            request = urllib.request.Request(
                sandbox.base_url + path, headers={"Authorization": "Bearer " + sandbox.api_key}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)

        def test_blocking(hoox_sandbox):
            assert get(hoox_sandbox, "/avatar/list?onlyPublic=true")
            kept.append(hoox_sandbox)

        def test_after(hoox_sandbox):
            assert hoox_sandbox is not kept[0]
            assert hoox_sandbox.requests == []
            from hoox_async import ConfigurationError
            with pytest.raises(ConfigurationError, match="not running"):
                kept[0].base_url
    """
    run(project, source, passed=2)


def test_the_marker_gives_the_sandbox_options(project: pytest.Pytester) -> None:
    """The closest marker's options are the sandbox's, and both fixtures share one sandbox."""
    source = (
        SESSION_TEST
        + """
    @pytest.mark.hoox_sandbox(failures=1.0, speed=1e9)
    async def test_fails(hoox_session):
        from hoox_async import LookStatus
        job = await hoox_session.submit(PromptAvatar("a friendly host"))
        assert (await job.status()).status is LookStatus.FAILED
    """
    )
    run(project, source, *ASYNCIO, passed=1)


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_the_session_works_with_pytest_asyncio(project: pytest.Pytester, mode: str) -> None:
    """hoox_session is open on the test's own loop, in both modes of pytest-asyncio."""
    source = (
        SESSION_TEST
        + """
    @pytest.mark.asyncio
    async def test_session(hoox_session, hoox_sandbox):
        await check(hoox_session, hoox_sandbox)
    """
    )
    run(project, source, *ASYNCIO, "-o", f"asyncio_mode={mode}", passed=1)


@pytest.mark.parametrize("others", [(), (*ASYNCIO, "-o", "asyncio_mode=strict")])
def test_the_session_works_with_anyio(project: pytest.Pytester, others: tuple[str, ...]) -> None:
    """hoox_session is open on anyio's loop, also beside pytest-asyncio; trio's tests are skipped."""
    source = (
        SESSION_TEST
        + """
    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(request):
        return request.param

    @pytest.mark.anyio
    async def test_session(hoox_session, hoox_sandbox):
        await check(hoox_session, hoox_sandbox)
    """
    )
    run(project, source, "-p", "anyio", *others, passed=1, skipped=1)


def test_the_session_without_a_runner_says_what_is_missing(project: pytest.Pytester) -> None:
    """Without pytest-asyncio and anyio the session's fixture raises an error that names both."""
    project.makepyfile("def test_it(hoox_session): pass")
    result = project.runpytest_inprocess("-p", "hoox_async")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*hoox_session needs pytest-asyncio, or anyio*"])


def test_the_real_api_is_out_of_reach(project: pytest.Pytester) -> None:
    """A session, bare aiohttp and a blocking client all get the error that names the way out, at once."""
    source = """
        import socket, urllib.error, urllib.request
        import aiohttp, pytest
        from hoox_async import HooxSession, PromptAvatar

        URL = "https://app.hoox.video/api/public/v1/avatar/list"
        blocked = pytest.raises(RuntimeError, match="nothing was sent.*hoox_sandbox.*--hoox-live")

        async def test_session():
            async with HooxSession("hx_live_key") as session:
                with blocked:
                    await session.looks()
                with blocked:
                    await session.submit(PromptAvatar("a friendly host"))

        async def test_aiohttp():
            async with aiohttp.ClientSession() as client:
                with blocked:
                    await client.get(URL)

        def test_urllib():
            with blocked:
                urllib.request.urlopen(URL)

        async def test_unblocked_hosts(hoox_session):
            assert await hoox_session.looks(only_public=True)
            assert socket.getaddrinfo("localhost", 80)
    """
    run(project, source, *ASYNCIO, passed=4)


def test_mocked_answers_of_the_real_api_are_not_blocked(project: pytest.Pytester) -> None:
    """A fake transport on the default base URL needs no connection and works."""
    source = """
        from hoox_async import HooxSession, PromptAvatar
        from hoox_async.sandbox import InProcessTransport, Space

        async def test_mocked():
            space = Space(speed=400)
            async with HooxSession(space.api_key, transport=InProcessTransport(space, latency=0)) as session:
                assert (await session.submit(PromptAvatar("a friendly host"))).credits == 2
    """
    run(project, source, *ASYNCIO, passed=1)


@pytest.mark.slow
@pytest.mark.parametrize("live", [False, True])
def test_only_the_option_allows_the_real_api(project: pytest.Pytester, live: bool) -> None:
    """With --hoox-live nothing is patched; without it the address lookup is."""
    source = f"""
        import socket

        def test_patched():
            assert (socket.getaddrinfo.__module__ == "socket") is {live}
    """
    project.makepyfile(textwrap.dedent(source))
    options = ("--hoox-live",) if live else ()
    project.runpytest_subprocess("-p", "hoox_async", *options).assert_outcomes(passed=1)


def test_the_block_ends_with_the_pytest_run(project: pytest.Pytester) -> None:
    """After a run in this process all patched functions are as before."""
    before = (socket.getaddrinfo, ssl.SSLContext.wrap_bio, ssl.SSLContext.wrap_socket)
    run(project, "def test_it(): pass", passed=1)
    assert (socket.getaddrinfo, ssl.SSLContext.wrap_bio, ssl.SSLContext.wrap_socket) == before


@pytest.mark.slow
def test_it_works_under_xdist(project: pytest.Pytester) -> None:
    """Each worker blocks for itself and has sandboxes of its own."""
    source = (
        SESSION_TEST
        + """
    import socket

    @pytest.mark.parametrize("number", range(2))
    async def test_session(hoox_session, hoox_sandbox, number):
        await check(hoox_session, hoox_sandbox)
        with pytest.raises(RuntimeError, match="--hoox-live"):
            socket.getaddrinfo("app.hoox.video", 443)
    """
    )
    project.makepyfile(textwrap.dedent(source))
    plugins = ("-p", "xdist", *ASYNCIO, "-p", "hoox_async")
    project.runpytest_subprocess(*plugins, "-n", "2", *STRICT).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    "host", [PRODUCTION_HOST, PRODUCTION_HOST.upper(), PRODUCTION_HOST + ".", b"app.hoox.video"]
)
def test_the_guard_recognises_the_host_in_every_spelling(host: str | bytes) -> None:
    """Case, a dot at the end, and bytes make no difference."""
    guard = ProductionGuard()
    guard.install()
    try:
        with pytest.raises(ProductionBlocked):
            socket.getaddrinfo(host, 443)
        with pytest.raises(ProductionBlocked):
            socket.getaddrinfo(host=host, port=443)
    finally:
        guard.remove()


def test_the_guard_stops_tls_without_an_address_lookup() -> None:
    """A client with its own resolver, or behind a proxy, can connect, but not begin TLS."""
    guard = ProductionGuard()
    guard.install()
    context = ssl.create_default_context()
    try:
        with pytest.raises(ProductionBlocked):
            context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=PRODUCTION_HOST)
        assert context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="elsewhere.invalid")
        ours, theirs = socket.socketpair()
        with ours, theirs, pytest.raises(ProductionBlocked):
            context.wrap_socket(ours, server_hostname=PRODUCTION_HOST)
    finally:
        guard.remove()


def test_the_blocked_host_is_the_one_that_sessions_go_to() -> None:
    """The plugin, which imports nothing of the library, names the same host as the session's default."""
    assert urlsplit(BASE_URL).hostname == PRODUCTION_HOST
