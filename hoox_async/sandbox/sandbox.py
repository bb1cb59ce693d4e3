"""The sandbox: a fake workspace and its server, as a context manager."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from decimal import Decimal
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from anyio.from_thread import start_blocking_portal

from .._api.endpoints import Endpoint
from .._api.models import HasRef
from .._checks import argument, option
from ..errors import ConfigurationError
from .answers import AnswerForms, Vocabulary
from .fault_injection import Fault
from .generation import Duration, Ending
from .http_server import API, HttpServer
from .quota_window import QuotaKind
from .received_requests import Charge, RequestRecord
from .space import Space
from .webhook_sender import DeliveryOptions, DeliveryRecord

if TYPE_CHECKING:
    from .._session import HooxSession

_T = TypeVar("_T")
_NO_LIMIT = 60_000


class Sandbox:
    """A local server of the API, for tests and demos. It costs nothing and stores nothing.

        async with Sandbox() as sandbox, sandbox.session() as session:
            look = await session.run(PromptAvatar("a friendly host"))

    ``async with`` serves on the caller's event loop; plain ``with`` serves in a thread of its own, for code
    that blocks. The methods may be called from any thread.

    - ``speed`` divides the log-normal generation time (``median`` seconds, ``sigma``): a look takes about
      0.1 s by default, 40 s at ``speed=1``. ``duration(index, body)`` gives it per look instead.
    - ``requests_per_minute`` is the workspace's quota (None for no limit; the real API has 100), ``quota``
      the way in which it is counted ("sliding" or "fixed"). ``retry_after``: send that header with each 429.
      ``quota_window`` is the length of its minute in seconds.
    - ``credits`` is the workspace's balance at the start.
    - ``failures`` is the share of looks that fail; a prompt that contains "[fail]" always fails.
    - ``faults``: tuples of an endpoint, the number of the request (from 1) and its `Fault`; ``fault_rates``:
      the share of the paid requests that meets each fault.
    - ``vocabulary``: the API's status words. "completed" uses completed and failed, "ready" uses ready and
      error, and "both" mixes them as the API reference does.
    - ``list_pending``: whether ``/avatar/list`` shows looks that are not ready (the API doesn't say).
    - ``latency``: seconds between a request and its response. ``port`` 0 chooses a free port.
    - ``deliveries``: how webhooks are sent. ``seed`` determines ids, durations and random faults.
    - ``forms``: in which of its possible forms it answers where the vendor's pages differ (`AnswerForms`).

    Raises `ConfigurationError` for an option that is not usable, and on entering if the port is not free.
    """

    def __init__(
        self,
        *,
        speed: float = 400.0,
        seed: int = 0,
        credits: Decimal | int | str = 1_000_000,
        requests_per_minute: int | None = 6000,
        failures: float = 0.0,
        faults: Iterable[tuple[Endpoint | str, int, Fault]] = (),
        fault_rates: Mapping[Fault, float] | None = None,
        median: float = 40.0,
        sigma: float = 0.5,
        duration: Duration | None = None,
        latency: float = 0.0,
        port: int = 0,
        quota: QuotaKind = "sliding",
        quota_window: float = 60.0,
        retry_after: bool = False,
        list_pending: bool = False,
        vocabulary: Vocabulary = "both",
        api_key: str | None = None,
        deliveries: DeliveryOptions | None = None,
        forms: AnswerForms | None = None,
    ) -> None:
        option.whole("seed", seed, least=0)
        option.number("latency", latency)
        option.whole("port", port, least=0, most=65535)
        option.instance("deliveries", deliveries, DeliveryOptions | None, "a DeliveryOptions, or None")
        rng = Random(seed)  # noqa: S311 - a fake's ids are no secrets
        self.space: Space = Space(
            rng=rng,
            credits=credits,
            requests_per_minute=requests_per_minute,
            quota=quota,
            quota_window=quota_window,
            retry_after=retry_after,
            median=median,
            sigma=sigma,
            speed=speed,
            failures=failures,
            duration=duration,
            faults=faults,
            fault_rates=fault_rates,
            list_pending=list_pending,
            vocabulary=vocabulary,
            api_key=api_key,
            forms=forms,
        )
        for fault in self.space.faults.faults:
            _check_servable(fault)
        self._rng = Random(rng.getrandbits(64))  # noqa: S311
        self._port = port
        self._latency = latency
        self._options = deliveries or DeliveryOptions()
        self._address: str | None = None
        self._server: HttpServer | None = None
        self._stopped_at = 0.0
        self._delivered: list[DeliveryRecord] = []
        self._own_thread: ExitStack | None = None

    async def __aenter__(self) -> Self:
        self._check_not_running()
        server = HttpServer(
            self.space,
            port=self._port,
            latency=self._latency,
            options=self._options,
            rng=self._rng,
            delivered=self._delivered,
        )
        self._address = await server.start()
        self._server = server
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server, self._address = self._server, None, None
        if server is not None:
            self._stopped_at = server.loop.time()
            await server.aclose()

    def __enter__(self) -> Self:
        self._check_not_running()
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            stack.enter_context(portal.wrap_async_context_manager(self))
            self._own_thread = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own_thread is not None:
            self._own_thread.close()
            self._own_thread = None

    def __repr__(self) -> str:
        where = self._address or "not running"
        return f"<Sandbox {where}, {len(self.space.ledger)} accepted, {self.credits_spent} credits spent>"

    @property
    def base_url(self) -> str:
        """The API's base URL. Raises `ConfigurationError` while the sandbox is not running."""
        if self._address is None:
            raise ConfigurationError("the sandbox is not running: enter it with `async with` or `with`")
        return self._address + API

    @property
    def api_key(self) -> str:
        """The only API key that the sandbox accepts."""
        return self.space.api_key

    @property
    def ledger(self) -> list[Charge]:
        """Every accepted creation and edit with its price, in order."""
        return list(self.space.ledger)

    @property
    def credits_spent(self) -> Decimal:
        """The sum of the prices in `ledger`, in credits."""
        return self.space.credits_spent

    @property
    def requests(self) -> list[RequestRecord]:
        """Every request that was received, in order, those included that were refused or met a fault."""
        return list(self.space.requests)

    @property
    def deliveries(self) -> list[DeliveryRecord]:
        """Every attempt to deliver a webhook, in order."""
        return list(self._delivered)

    def session(self, **options: Any) -> HooxSession:
        """A session that uses this sandbox, with its quota. ``options`` are those of `HooxSession`.

        Raises `ConfigurationError` while the sandbox is not running, and what `HooxSession` raises.
        """
        from .._session import HooxSession

        limit = self.space.window.limit
        defaults = {
            "api_key": self.api_key,
            "base_url": self.base_url,
            "requests_per_minute": _NO_LIMIT if limit is None else limit,
        }
        return HooxSession(**{**defaults, **options})

    def fail_next(self, endpoint: Endpoint | str, fault: Fault, times: int = 1, after: int = 0) -> None:
        """Let ``times`` requests of an endpoint meet the fault, after ``after`` more requests without one.

        ``endpoint`` is an `Endpoint`, its name or "picture". A second call plans the requests after those
        that the first one planned. Raises `InvalidRequest` for an unknown endpoint and `ConfigurationError`
        for `Fault.REFUSED` and for what is no fault or no number.
        """
        _check_servable(fault)
        option.whole("times", times, least=1)
        option.whole("after", after, least=0)
        self._call_on_loop(lambda: self.space.faults.fail_next(endpoint, fault, times, after))

    def hold(self) -> None:
        """Let looks settle only by `settle`, from now on, also before the start. Raises nothing."""
        self._call_on_loop(lambda: self.space.hold(self._now()))

    def release(self) -> None:
        """Undo `hold`. Looks whose time came in between settle now. Raises nothing."""
        self._call_on_loop(lambda: self.space.release(self._now()))
        self._wake()

    def settle(self, ref: HasRef | str, ending: Ending) -> None:
        """Settle a look now as "ready" or "failed" ("pending" undoes it).

        Raises `InvalidRequest` for another word and for what names no look, `KeyError` for an unknown look.
        """
        self._call_on_loop(lambda: self.space.settle(ref, ending, self._now()))
        self._wake()

    def done_at(self, ref: HasRef | str) -> float | None:
        """The loop's time at which the look is or will be settled; None while only `settle` can settle it.

        Raises `InvalidRequest` for what names no look, and `KeyError` for an unknown one.
        """
        return self._call_on_loop(lambda: self.space.done_at(ref))

    def set_deliveries(self, options: DeliveryOptions) -> None:
        """Send webhooks with these options from now on. Raises `InvalidRequest` for what is none."""
        argument.instance("options", options, DeliveryOptions, "a DeliveryOptions")
        self._options = options
        server = self._server
        if server is not None:
            self._call_on_loop(lambda: setattr(server.webhook_sender, "options", options))

    async def forge(self, url: str, body: dict[str, Any]) -> int | None:
        """Post any JSON to any URL as a delivery, once. Returns the HTTP status, None without a response.

        Raises `ConfigurationError` while the sandbox is not running.
        """
        argument.text("url", url)
        argument.instance("body", body, dict, "a dict of JSON values")
        server = self._server
        if server is None:
            raise ConfigurationError("the sandbox is not running")
        if threading.get_ident() == server.thread_id:
            return await server.webhook_sender.post(url, body)
        done = asyncio.run_coroutine_threadsafe(server.webhook_sender.post(url, body), server.loop)
        return await asyncio.wrap_future(done)

    def _check_not_running(self) -> None:
        if self._server is not None:
            raise ConfigurationError("the sandbox is running already")

    def _now(self) -> float:
        return self._server.loop.time() if self._server else self._stopped_at

    def _wake(self) -> None:
        if self._server is not None:
            self._call_on_loop(self._server.webhook_sender.wake)

    def _call_on_loop(self, function: Callable[[], _T]) -> _T:
        server = self._server
        if server is None or threading.get_ident() == server.thread_id:
            return function()
        done: Future[_T] = Future()
        server.loop.call_soon_threadsafe(_complete, done, function)
        return done.result()


def _complete(done: Future[_T], function: Callable[[], _T]) -> None:
    try:
        done.set_result(function())
    except BaseException as error:
        done.set_exception(error)


def _check_servable(fault: Fault) -> None:
    option.instance("fault", fault, Fault, "a Fault, such as Fault.DROP_AFTER")
    if fault.kind == "refuse":
        raise ConfigurationError(
            f"Fault.{fault.name}: a server that listens can't refuse; use InProcessTransport"
        )
