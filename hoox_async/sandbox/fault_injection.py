"""Faults that a request can meet on demand, and the plan of which request meets which.

For a new fault `tests/test_fault_matrix.py` asks for its row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from random import Random
from typing import Any, ClassVar, Literal, NamedTuple

import attrs

from .._api.endpoints import Endpoint
from .._checks import argument, option
from .answers import HttpResponse
from .received_requests import Charge, RequestRecord

FaultKind = Literal["answer", "drop", "hang", "refuse", "cut", "break", "drip", "late", "deep", "endless"]

_HTML = "text/html; charset=utf-8"
_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@attrs.frozen
class Fault:
    """One way in which a request can fail.

    ``charges`` says whether the sandbox accepts (and charges) the request all the same. The constants are
    the common faults; `status`, `slow`, `late` and `rate_limited` make others (and raise
    `InvalidRequest`). A session waits for an answer
    that never comes (HANG) for ``Timeouts.answer``, 120 s: in a test give it ``Timeouts(answer=1)``.

    REFUSED is for `InProcessTransport` only: a server that listens can't refuse one connection.
    """

    name: str
    kind: FaultKind
    charges: bool = False
    code: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = attrs.field(default=None, repr=False)
    seconds: float = 0.0
    resets_in: float | None = None

    DROP_BEFORE: ClassVar[Fault]
    """The connection is closed and the request was not accepted."""
    DROP_AFTER: ClassVar[Fault]
    """The request is accepted and charged, then the connection is closed."""
    HANG_BEFORE: ClassVar[Fault]
    """The request is not accepted, and never answered."""
    HANG: ClassVar[Fault]
    """The request is accepted and charged, and never answered."""
    REFUSED: ClassVar[Fault]
    """The connection is never made."""
    ERROR_500_BEFORE: ClassVar[Fault]
    """The request is not accepted, and answered 500."""
    ERROR_500_AFTER: ClassVar[Fault]
    """The request is accepted and charged, and answered 500."""
    BAD_GATEWAY: ClassVar[Fault]
    """The request is not accepted, and answered 502 with HTML."""
    RATE_LIMITED: ClassVar[Fault]
    """429 without Retry-After; its quota headers say that nothing is left for one second."""
    RATE_LIMITED_RETRY_AFTER: ClassVar[Fault]
    """429 with ``Retry-After: 1``; quota headers as those of RATE_LIMITED."""
    TRUNCATED: ClassVar[Fault]
    """The request is accepted; the JSON of the response is cut, and its length says nothing of that."""
    DROP_IN_BODY: ClassVar[Fault]
    """The request is accepted; the connection is closed in the middle of the response's body."""
    SLOW_BODY: ClassVar[Fault]
    """The request is accepted; the response's body takes two seconds."""
    TEAPOT: ClassVar[Fault]
    """The request is not accepted, and answered 418: a status that no client expects."""
    REDIRECT: ClassVar[Fault]
    """The request is not accepted, and redirected (302) to another host."""
    HUGE: ClassVar[Fault]
    """The request is accepted; the response's body never ends."""
    DEEP_JSON: ClassVar[Fault]
    """The request is accepted, and answered 200 with JSON nested 100,000 levels deep."""
    NOT_JSON: ClassVar[Fault]
    """The request is accepted, and answered 200 with HTML."""

    @classmethod
    def status(cls, code: int, body: str = "", *, charges: bool = False, json: bool = True) -> Fault:
        """A response with this HTTP status and body, such as ``Fault.status(503)``."""
        argument.whole("code", code, least=100, most=599)
        argument.instance("body", body, str, "a text")
        argument.flag("charges", charges)
        argument.flag("json", json)
        kind = "application/json" if json else _HTML
        text = body or (f'{{"error": "HTTP {code}"}}' if json else f"<html>{code}</html>")
        return cls(
            f"STATUS_{code}",
            "answer",
            charges,
            code,
            (("Content-Type", kind),),
            text.encode(errors="surrogatepass"),
        )

    @classmethod
    def slow(cls, seconds: float) -> Fault:
        """The request is accepted; the response's body comes in small pieces, in all this many seconds."""
        return cls("SLOW_BODY", "drip", charges=True, seconds=argument.number("seconds", seconds))

    @classmethod
    def late(cls, seconds: float) -> Fault:
        """The request is accepted; the response comes this many seconds later."""
        return cls("LATE", "late", charges=True, seconds=argument.number("seconds", seconds))

    @classmethod
    def rate_limited(cls, *, retry_after: float | None = None, resets_in: float = 1.0) -> Fault:
        """429; its quota headers say that nothing is left for ``resets_in`` seconds.

        ``retry_after``: the seconds of a Retry-After header, None for none.
        """
        argument.number("resets_in", resets_in)
        headers = [("Content-Type", "application/json")]
        if retry_after is not None:
            headers.append(("Retry-After", f"{argument.number('retry_after', retry_after):g}"))
        body = b'{"error":"Rate limit exceeded","code":"rate_limit_exceeded"}'
        name = "RATE_LIMITED" if retry_after is None else "RATE_LIMITED_RETRY_AFTER"
        return cls(name, "answer", False, 429, tuple(headers), body, resets_in=resets_in)


def is_silent(fault: Fault) -> bool:
    """Whether there is no HTTP response at all."""
    return fault.kind in ("drop", "hang", "refuse")


def faulty(
    fault: Fault, response: HttpResponse | None, quota: Mapping[str, str], unix_now: float
) -> HttpResponse | None:
    """The response to send in place of the workspace's own, which is None if it gave none.

    ``quota`` are the workspace's quota headers.
    """
    if fault.body is not None:
        headers = {**(response.headers if response else quota), **dict(fault.headers)}
        if fault.resets_in is not None:
            headers["X-RateLimit-Limit"] = quota.get("X-RateLimit-Limit", "100")
            headers["X-RateLimit-Remaining"] = "0"
            headers["X-RateLimit-Reset"] = str(int(unix_now) + ceil(fault.resets_in))
        return HttpResponse(fault.code, headers, fault.body)
    if response is not None and fault.kind == "cut":
        return response._replace(body=response.body[: len(response.body) * 2 // 3])
    if response is not None and fault.kind == "deep":
        return response._replace(status=200, body=b'{"avatar_id":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    return response


def _constants() -> None:
    bad_gateway = (("Content-Type", _HTML),)
    elsewhere = (("Location", "https://elsewhere.invalid/api/public/v1/avatar/list"),)
    Fault.DROP_BEFORE = Fault("DROP_BEFORE", "drop")
    Fault.DROP_AFTER = Fault("DROP_AFTER", "drop", charges=True)
    Fault.HANG_BEFORE = Fault("HANG_BEFORE", "hang")
    Fault.HANG = Fault("HANG", "hang", charges=True)
    Fault.REFUSED = Fault("REFUSED", "refuse")
    Fault.ERROR_500_BEFORE = attrs.evolve(Fault.status(500), name="ERROR_500_BEFORE")
    Fault.ERROR_500_AFTER = attrs.evolve(Fault.status(500, charges=True), name="ERROR_500_AFTER")
    Fault.BAD_GATEWAY = Fault("BAD_GATEWAY", "answer", False, 502, bad_gateway, _GATEWAY)
    Fault.RATE_LIMITED = Fault.rate_limited()
    Fault.RATE_LIMITED_RETRY_AFTER = Fault.rate_limited(retry_after=1)
    Fault.TRUNCATED = Fault("TRUNCATED", "cut", charges=True)
    Fault.DROP_IN_BODY = Fault("DROP_IN_BODY", "break", charges=True)
    Fault.SLOW_BODY = Fault.slow(2.0)
    Fault.TEAPOT = attrs.evolve(Fault.status(418), name="TEAPOT")
    Fault.REDIRECT = Fault("REDIRECT", "answer", False, 302, elsewhere, b"")
    Fault.HUGE = Fault("HUGE", "endless", charges=True)
    Fault.DEEP_JSON = Fault("DEEP_JSON", "deep", charges=True)
    Fault.NOT_JSON = attrs.evolve(
        Fault.status(200, "<html>hi</html>", charges=True, json=False), name="NOT_JSON"
    )


_constants()


class Exchange(NamedTuple):
    """A request's response (None if there is none), the fault that it met (None for none), and its record.

    ``charges``: what it was charged.
    """

    response: HttpResponse | None
    fault: Fault | None
    record: RequestRecord
    charges: Sequence[Charge] = ()

    @property
    def kind(self) -> FaultKind:
        """How the response is sent."""
        return self.fault.kind if self.fault else "answer"

    @property
    def seconds(self) -> float:
        """How long the fault takes."""
        return self.fault.seconds if self.fault else 0.0

    @property
    def content(self) -> HttpResponse:
        """What is sent."""
        return self.response or HttpResponse(500, {}, b"")


@attrs.define
class _PlannedFault:
    fault: Fault
    first: int
    last: int
    queued: bool = False


class FaultPlan:
    """Decides which request meets which fault.

    ``faults`` names the n-th request (from 1) of an endpoint; ``rates`` is the share of the other paid
    requests that meets each fault. Raises `ConfigurationError` for what is no fault, endpoint or share.
    """

    def __init__(
        self,
        rng: Random,
        faults: Iterable[tuple[Endpoint | str, int, Fault]] = (),
        rates: Mapping[Fault, float] | None = None,
    ) -> None:
        rates = {} if rates is None else rates
        _check_rates(rates)
        self._rng = rng
        self._rates = dict(rates)
        self._requests: Counter[str] = Counter()
        self._planned: dict[str, list[_PlannedFault]] = {}
        for endpoint, number, fault in _checked_faults(faults):
            self._plan(str(endpoint), _PlannedFault(fault, number, number))

    @property
    def faults(self) -> list[Fault]:
        """Those that are planned, and those that come at random."""
        planned = (one.fault for of_endpoint in self._planned.values() for one in of_endpoint)
        return [*planned, *self._rates]

    def fail_next(self, endpoint: Endpoint | str, fault: Fault, times: int = 1, after: int = 0) -> None:
        """Let ``times`` requests of the endpoint meet the fault, after ``after`` more requests without one.

        A second call plans the requests after those that the first one planned. Raises `InvalidRequest`
        for an endpoint that is neither an `Endpoint`, its name nor "picture".
        """
        name = argument.choice("endpoint", endpoint, _ENDPOINTS)
        planned_until = max((one.last for one in self._planned.get(name, ()) if one.queued), default=0)
        first = max(self._requests[name], planned_until) + after + 1
        self._plan(name, _PlannedFault(fault, first, first + times - 1, queued=True))

    def next_fault(self, endpoint: Endpoint | str | None) -> Fault | None:
        """Count a request of the endpoint, and return the fault that it meets, if any."""
        if endpoint is None:
            return None
        name = str(endpoint)
        self._requests[name] += 1
        number = self._requests[name]
        for planned in self._planned.get(name, ()):
            if planned.first <= number <= planned.last:
                return planned.fault
        return self._random_fault() if self._rates and name in _PAID else None

    def _plan(self, name: str, planned: _PlannedFault) -> None:
        self._planned.setdefault(name, []).append(planned)

    def _random_fault(self) -> Fault | None:
        drawn = self._rng.random()
        for fault, share in self._rates.items():
            drawn -= share
            if drawn < 0:
                return fault
        return None


_PAID = frozenset(endpoint.value for endpoint in Endpoint if endpoint.paid)


_ENDPOINTS = (*(endpoint.value for endpoint in Endpoint), "picture")


def _checked_faults(faults: Iterable[Any]) -> tuple[tuple[Endpoint | str, int, Fault], ...]:
    """The planned faults. Raises `ConfigurationError` unless each is an endpoint, a number and a fault."""
    expected = f"tuples of an endpoint ({', '.join(_ENDPOINTS)}), the number of a request from 1, and a Fault"
    if isinstance(faults, str | Mapping) or not isinstance(faults, Iterable):
        raise option.error("faults", faults, expected)
    checked = tuple(faults)
    for one in checked:
        usable = (
            isinstance(one, tuple) and len(one) == 3 and one[0] in _ENDPOINTS and isinstance(one[2], Fault)
        )
        if not usable or not isinstance(one[1], int) or isinstance(one[1], bool) or one[1] < 1:
            raise option.error("faults", one, expected)
    return checked


def _check_rates(rates: Any) -> None:
    """Raise `ConfigurationError` unless it maps faults to shares that are 1 at most together."""
    expected = "a mapping of Fault to a share from 0 to 1, with a sum of 1 at most"
    if not isinstance(rates, Mapping) or not all(isinstance(fault, Fault) for fault in rates):
        raise option.error("fault_rates", rates, expected)
    for fault, share in rates.items():
        option.number(f"fault_rates[{fault.name}]", share, most=1.0)
    if sum(rates.values()) > 1 + 1e-9:
        raise option.error("fault_rates", rates, expected)
