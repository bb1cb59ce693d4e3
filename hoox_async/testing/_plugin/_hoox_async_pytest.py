"""The pytest plugin of hoox-async: a sandbox and a session as fixtures, and a block of the real API.

It is a module beside the package, and imports the package only when a fixture is used: pytest loads it
at every start, also if no test uses looks, and before a coverage plugin counts lines.
`hoox_async.testing` describes its use. ``-p no:hoox_async`` turns it off.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hoox_async import HooxSession
    from hoox_async.sandbox import Sandbox

PRODUCTION_HOST = "app.hoox.video"
_OPTION = "--hoox-live"


class ProductionBlocked(RuntimeError):
    """A test tried to reach the real API, where looks cost credits. Nothing was sent."""

    def __init__(self) -> None:
        super().__init__(
            f"a test tried to reach {PRODUCTION_HOST}, where looks cost credits; nothing was sent. Use the "
            f"fixtures hoox_session or hoox_sandbox, or run pytest with {_OPTION} if you mean it"
        )


class ProductionGuard:
    """Blocks the lookup of the production host's address, and the start of TLS with it, for any client.

    Each client needs one of the two before it can send a byte of a request, also one that resolves names in
    its own way or uses a proxy. A mock needs neither, and works.
    """

    def __init__(self) -> None:
        self._undo = pytest.MonkeyPatch()

    def install(self) -> None:
        """Block from now on."""
        self._wrap(socket, "getaddrinfo", lambda args, options: args[0] if args else options.get("host"))
        for method in ("wrap_bio", "wrap_socket"):
            self._wrap(ssl.SSLContext, method, lambda _, options: options.get("server_hostname"))

    def remove(self) -> None:
        """Stop blocking."""
        self._undo.undo()

    def _wrap(self, owner: Any, name: str, host_of: Callable[[tuple[Any, ...], dict[str, Any]], Any]) -> None:
        original = getattr(owner, name)

        def guarded(*args: Any, **options: Any) -> Any:
            if _is_production(host_of(args, options)):
                raise ProductionBlocked
            return original(*args, **options)

        self._undo.setattr(owner, name, guarded)


def _is_production(host: object) -> bool:
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    return isinstance(text, str) and text.lower().rstrip(".") == PRODUCTION_HOST


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--hoox-live``."""
    group = parser.getgroup("hoox-async")
    group.addoption(
        _OPTION, action="store_true", help=f"let tests reach {PRODUCTION_HOST}, where looks cost credits"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Block the production host, and register the session's fixture for the plugins that are installed."""
    config.addinivalue_line(
        "markers", "hoox_sandbox(**options): the options of this test's Sandbox, such as failures=0.1"
    )
    if not config.getoption("hoox_live"):
        guard = ProductionGuard()
        guard.install()
        config.add_cleanup(guard.remove)
    if config.pluginmanager.hasplugin("asyncio"):
        config.pluginmanager.register(_asyncio_fixture(), "hoox_async_asyncio")


@pytest.fixture
def hoox_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A fresh `hoox_async.sandbox.Sandbox` in a thread of its own, so that a test that blocks works too.

    Looks take about 0.1 s. ``@pytest.mark.hoox_sandbox(failures=0.1)`` gives the sandbox options.
    """
    from hoox_async.sandbox import Sandbox

    marker = request.node.get_closest_marker("hoox_sandbox")
    with Sandbox(**(marker.kwargs if marker else {})) as sandbox:
        yield sandbox


@pytest.fixture
def hoox_session(request: pytest.FixtureRequest) -> HooxSession:
    """An open `hoox_async.HooxSession` on `hoox_sandbox`, for tests of pytest-asyncio or of anyio."""
    if "anyio_backend" in request.fixturenames:
        if request.getfixturevalue("anyio_backend_name") != "asyncio":
            pytest.skip("hoox-async runs on asyncio")
        name = "_hoox_session_anyio"
    elif request.config.pluginmanager.hasplugin("hoox_async_asyncio"):
        name = "_hoox_session_asyncio"
    else:
        pytest.fail(
            "hoox_session needs pytest-asyncio, or anyio's plugin with a test marked anyio", pytrace=False
        )
    session: HooxSession = request.getfixturevalue(name)
    return session


async def _open_session(hoox_sandbox: Sandbox) -> AsyncIterator[HooxSession]:
    async with hoox_sandbox.session() as session:
        yield session


_hoox_session_anyio = pytest.fixture(name="_hoox_session_anyio")(_open_session)


def _asyncio_fixture() -> object:
    """A plugin whose one fixture pytest-asyncio runs, in its strict mode too."""
    import pytest_asyncio

    class SessionOfPytestAsyncio:
        @pytest_asyncio.fixture
        async def _hoox_session_asyncio(self, hoox_sandbox: Sandbox) -> AsyncIterator[HooxSession]:
            async with hoox_sandbox.session() as session:
                yield session

    return SessionOfPytestAsyncio()
