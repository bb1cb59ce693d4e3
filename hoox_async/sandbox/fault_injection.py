"""What can go wrong on the way, on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil
from random import Random
from typing import ClassVar, Literal, NamedTuple

import attrs

from .._api.endpoints import Endpoint
from .workspace_records import HttpResponse, RequestRecord

FaultKind = Literal["answer", "drop", "hang", "refuse", "cut", "break", "drip", "late", "deep", "endless"]

_HTML = "text/html; charset=utf-8"
_GATEWAY = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@attrs.frozen
class Fault:
    """One way in which a request can go wrong.

    ``charges``: whether the sandbox still accepts (and charges) the request. The constants are the usual
    ones; `status`, `slow`, `late` and `rate_limited` make others.

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
    """Not accepted, and never answered."""
    HANG: ClassVar[Fault]
    """Accepted and charged, and never answered."""
    REFUSED: ClassVar[Fault]
    """The connection is never made."""
    ERROR_500_BEFORE: ClassVar[Fault]
    ERROR_500_AFTER: ClassVar[Fault]
    """Accepted and charged, and answered 500."""
    BAD_GATEWAY: ClassVar[Fault]
    """502 with HTML; not accepted."""
    RATE_LIMITED: ClassVar[Fault]
    """429 with quota headers that reset in a second, without Retry-After."""
    RATE_LIMITED_RETRY_AFTER: ClassVar[Fault]
    """429 with ``Retry-After: 1``."""
    TRUNCATED: ClassVar[Fault]
    """Accepted; a whole answer whose JSON is cut."""
    DROP_IN_BODY: ClassVar[Fault]
    """Accepted; the connection is closed in the middle of the answer."""
    SLOW_BODY: ClassVar[Fault]
    """Accepted; the answer's body takes two seconds."""
    TEAPOT: ClassVar[Fault]
    """418, not accepted: a status that nobody expects."""
    REDIRECT: ClassVar[Fault]
    """302 to another host; not accepted."""
    HUGE: ClassVar[Fault]
    """Accepted; the body never ends."""
    DEEP_JSON: ClassVar[Fault]
    """Accepted; 200 with JSON nested 100,000 deep."""
    NOT_JSON: ClassVar[Fault]
    """Accepted; 200 with HTML."""

    @classmethod
    def status(cls, code: int, body: str = "", *, charges: bool = False, json: bool = True) -> Fault:
        """An answer with this HTTP status and body, such as ``Fault.status(503)``."""
        kind = "application/json" if json else _HTML
        text = body or (f'{{"error": "HTTP {code}"}}' if json else f"<html>{code}</html>")
        return cls(f"STATUS_{code}", "answer", charges, code, (("Content-Type", kind),), text.encode())

    @classmethod
    def slow(cls, seconds: float) -> Fault:
        """Accepted; the answer's body comes in drips that take this long."""
        return cls("SLOW_BODY", "drip", charges=True, seconds=seconds)

    @classmethod
    def late(cls, seconds: float) -> Fault:
        """Accepted; the answer comes this much later."""
        return cls("LATE", "late", charges=True, seconds=seconds)

    @classmethod
    def rate_limited(cls, *, retry_after: float | None = None, resets_in: float = 1.0) -> Fault:
        """429, whose quota headers say nothing left until ``resets_in`` seconds from now."""
        headers = [("Content-Type", "application/json")]
        if retry_after is not None:
            headers.append(("Retry-After", f"{retry_after:g}"))
        body = b'{"error":"Rate limit exceeded","code":"rate_limit_exceeded"}'
        name = "RATE_LIMITED" if retry_after is None else "RATE_LIMITED_RETRY_AFTER"
        return cls(name, "answer", False, 429, tuple(headers), body, resets_in=resets_in)

    @property
    def silent(self) -> bool:
        """Whether no HTTP answer comes at all."""
        return self.kind in ("drop", "hang", "refuse")

    def apply(
        self, answer: HttpResponse | None, quota: Mapping[str, str], unix_now: float
    ) -> HttpResponse | None:
        """The answer that goes out instead of the workspace's own (None: there was none)."""
        if self.body is not None:
            headers = {**(answer.headers if answer else quota), **dict(self.headers)}
            if self.resets_in is not None:
                headers["X-RateLimit-Limit"] = quota.get("X-RateLimit-Limit", "100")
                headers["X-RateLimit-Remaining"] = "0"
                headers["X-RateLimit-Reset"] = str(int(unix_now) + ceil(self.resets_in))
            return HttpResponse(self.code, headers, self.body)
        if answer is not None and self.kind == "cut":
            return answer._replace(body=answer.body[: len(answer.body) * 2 // 3])
        if answer is not None and self.kind == "deep":
            return answer._replace(status=200, body=b'{"avatar_id":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
        return answer


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
    """What a request met: the answer that goes out (if any), the fault (if any), and its record."""

    answer: HttpResponse | None
    fault: Fault | None
    record: RequestRecord

    @property
    def kind(self) -> FaultKind:
        """How the answer goes out."""
        return self.fault.kind if self.fault else "answer"


@attrs.define
class _PlannedFault:
    fault: Fault
    first: int
    last: int
    queued: bool = False


class FaultPlan:
    """Which call meets which fault: those planned by number, else by chance on the paid endpoints."""

    def __init__(
        self,
        rng: Random,
        faults: Iterable[tuple[Endpoint | str, int, Fault]] = (),
        rates: Mapping[Fault, float] | None = None,
    ) -> None:
        self._rng = rng
        self._rates = dict(rates or {})
        self._calls: Counter[str] = Counter()
        self._planned: dict[str, list[_PlannedFault]] = {}
        for endpoint, number, fault in faults:
            self._plan(_named(endpoint), _PlannedFault(fault, number, number))

    def fail_next(self, endpoint: Endpoint | str, fault: Fault, times: int = 1, after: int = 0) -> None:
        """The next ``times`` calls of the endpoint meet the fault, once ``after`` calls have gone well.

        Said again before those were made, it takes the calls after them. Raises ValueError for an endpoint
        that is neither an `Endpoint`, its name nor "picture".
        """
        name = _named(endpoint)
        booked = max((one.last for one in self._planned.get(name, ()) if one.queued), default=0)
        first = max(self._calls[name], booked) + after + 1
        self._plan(name, _PlannedFault(fault, first, first + times - 1, queued=True))

    def take(self, endpoint: Endpoint | str | None) -> Fault | None:
        """Count a call of the endpoint and say which fault it meets."""
        if endpoint is None:
            return None
        name = str(endpoint)
        self._calls[name] += 1
        number = self._calls[name]
        for planned in self._planned.get(name, ()):
            if planned.first <= number <= planned.last:
                return planned.fault
        return self._by_chance() if self._rates and name in _PAID else None

    def _plan(self, name: str, planned: _PlannedFault) -> None:
        self._planned.setdefault(name, []).append(planned)

    def _by_chance(self) -> Fault | None:
        drawn = self._rng.random()
        for fault, share in self._rates.items():
            drawn -= share
            if drawn < 0:
                return fault
        return None


_PAID = frozenset(endpoint.value for endpoint in Endpoint if endpoint.paid)


def _named(endpoint: Endpoint | str) -> str:
    if endpoint == "picture":
        return "picture"
    return Endpoint(endpoint).value
