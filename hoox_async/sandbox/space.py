"""The fake workspace: avatars, looks, credits and quota, as pure state. The time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from email.utils import formatdate
from math import ceil
from random import Random
from typing import Any, get_args

import attrs

from .._api.endpoints import Endpoint
from .._api.models import HasRef, is_id, ref_of
from .._checks import argument, option
from .answers import (
    AnswerForms,
    HttpResponse,
    Vocabulary,
    accepted_create,
    encode,
    error_body,
    filter_list,
    group_body,
    group_look,
    look_body,
    reset_header,
    shown_headers,
    status_body,
)
from .avatars import FakeAvatar, FakeLook, PictureFile, catalogue, traits_of
from .fault_injection import Exchange, Fault, FaultPlan, faulty, is_silent
from .generation import Duration, Ending, Generation
from .quota_window import QuotaKind, QuotaWindow
from .received_requests import (
    Charge,
    ErrorResponse,
    IncomingRequest,
    RequestRecord,
    check_create,
    check_edit,
    error_response,
    images_of,
    invalid,
    price_of,
    route,
)

_NOT_FOUND = error_response(404, "Not found")


class Space:
    """A workspace of the API as plain state. It does no I/O and reads no clock.

    - ``credits``: its balance. ``requests_per_minute``: its quota, None for no limit; ``quota``: how that is
      counted, "sliding" or "fixed" (see `QuotaWindow`). ``retry_after``: send that header with each 429.
    - ``median``, ``sigma``, ``speed``, ``failures``, ``fail_marker``, ``duration``: see `Generation`.
    - ``faults``: tuples of an endpoint, the number of the request (from 1) and its fault; ``fault_rates``:
      the share of the paid requests that meets each fault.
    - ``vocabulary``: the API's status words, see `Vocabulary`.
    - ``list_pending``: whether ``/avatar/list`` shows looks that are not ready (the API doesn't say).
    - ``forms``: in which of its possible forms it answers, see `AnswerForms`.
    - ``rng`` determines ids, durations and random faults; the same seed gives the same workspace.

    ``ledger`` holds a `Charge` for each accepted creation or edit, ``requests`` every request.
    ``epoch`` is the Unix time at time 0; the server or transport sets it. Raises `ConfigurationError` for an
    option that is not usable.
    """

    def __init__(
        self,
        *,
        rng: Random | None = None,
        credits: Decimal | int | str = 1_000_000,
        requests_per_minute: int | None = 100,
        quota: QuotaKind = "sliding",
        quota_window: float = 60.0,
        retry_after: bool = False,
        median: float = 40.0,
        sigma: float = 0.5,
        speed: float = 1.0,
        failures: float = 0.0,
        fail_marker: str = "[fail]",
        duration: Duration | None = None,
        faults: Iterable[tuple[Endpoint | str, int, Fault]] = (),
        fault_rates: Mapping[Fault, float] | None = None,
        list_pending: bool = False,
        vocabulary: Vocabulary = "both",
        api_key: str | None = None,
        picture_base: str = "http://sandbox.invalid/pictures",
        forms: AnswerForms | None = None,
    ) -> None:
        balance = option.credits("credits", credits)
        option.flag("retry_after", retry_after)
        option.flag("list_pending", list_pending)
        option.choice("vocabulary", vocabulary, get_args(Vocabulary))
        if api_key is not None:
            option.text("api_key", api_key)
        option.instance("forms", forms, AnswerForms | None, "an AnswerForms, or None")
        option.instance("rng", rng, Random | None, "a random.Random, or None")
        option.text("picture_base", picture_base)
        rng = rng or Random(0)  # noqa: S311 - a fake's ids are no secrets
        self._ids = Random(rng.getrandbits(64))  # noqa: S311
        self.api_key: str = api_key or f"hx_live_{rng.getrandbits(256):064x}"
        self.generation: Generation = Generation(
            Random(rng.getrandbits(64)),  # noqa: S311
            median=median,
            sigma=sigma,
            speed=speed,
            failures=failures,
            fail_marker=fail_marker,
            duration=duration,
        )
        self.faults: FaultPlan = FaultPlan(Random(rng.getrandbits(64)), faults, fault_rates)  # noqa: S311
        self.forms: AnswerForms = forms or AnswerForms()
        self.window: QuotaWindow = QuotaWindow(
            requests_per_minute,
            seconds=quota_window,
            kind=quota,
            throttled_counts=self.forms.throttled_counts,
        )
        self.balance: Decimal = balance
        self.picture_base = picture_base
        self.epoch: float = 0.0
        self.ledger: list[Charge] = []
        self.requests: list[RequestRecord] = []
        self.avatars: dict[str, FakeAvatar] = {avatar.id: avatar for avatar in catalogue()}
        self.looks: dict[str, FakeLook] = {
            look.id: look for avatar in self.avatars.values() for look in avatar.looks
        }
        self._retry_after = retry_after
        self._list_pending = list_pending
        self.vocabulary: Vocabulary = vocabulary
        self._date = (-1, "")

    @property
    def credits_spent(self) -> Decimal:
        """The sum of the prices of all accepted requests, in credits."""
        return sum((charge.credits for charge in self.ledger), Decimal(0))

    def hold(self, now: float) -> None:
        """Let looks settle only by `settle`, from now on."""
        self.generation.hold(argument.number("now", now))

    def release(self, now: float) -> None:
        """Undo `hold`. Looks whose time came in between settle now."""
        self.generation.release(self.looks.values(), argument.number("now", now))

    def settle(self, ref: HasRef | str, ending: Ending, now: float) -> None:
        """Settle a look as "ready" or "failed" ("pending" undoes it). Raises as `Sandbox.settle` does."""
        self.generation.settle(self.look(ref), ending, argument.number("now", now))

    def look(self, ref: HasRef | str) -> FakeLook:
        """The look with this ref, its text or a bare look id. Raises as `Sandbox.done_at` does."""
        named = ref if is_id(ref) else str(ref_of(ref))
        found = self.looks.get(named.rpartition(":")[2])
        if found is None:
            raise KeyError(f"the sandbox has no look {named}")
        return found

    def done_at(self, ref: HasRef | str) -> float | None:
        """The time in seconds at which the look is or will be settled; None while only `settle` can do so."""
        done = self.look(ref).done_at
        return None if done == float("inf") else done

    def picture_time(self, look: FakeLook) -> float:
        """The Unix time at which the picture of a ready look was made."""
        # a look of the catalogue has been ready forever: its avatar has a date
        return self.epoch + max(look.done_at, look.avatar.created_at)

    def picture_url(self, look: FakeLook) -> str:
        """The URL at the look's ``thumbnail``."""
        return f"{self.picture_base}/{look.picture_of or look.id}.jpg"

    def preview_url(self, look: FakeLook) -> str:
        """The URL at the look's ``preview``."""
        if self.forms.preview == "same":
            return self.picture_url(look)
        ending = "mp4" if self.forms.preview == "film" else "full.jpg"
        return f"{self.picture_base}/{look.picture_of or look.id}.{ending}"

    def picture_file(self, name: str) -> PictureFile | None:
        """What the last part of a picture's URL names; None if there is no such look."""
        look_id, _, ending = name.partition(".")
        look = self.looks.get(look_id)
        if look is None:
            return None
        if ending == "mp4":
            return PictureFile(look, "film")
        return PictureFile(look, "full" if ending == "full.jpg" else self.forms.thumbnail)

    def receive(self, call: IncomingRequest, now: float, fault: Fault | None = None) -> Exchange:
        """Respond to a request, apply ``fault`` to the response, and append the request to ``requests``.

        The server or transport gets the fault from ``faults.next_fault(endpoint)`` first.
        """
        endpoint, _ = route(call.method, call.path)
        charged_before = len(self.ledger)
        response = self.respond(call, now) if fault is None or fault.charges else None
        if fault is not None:
            response = faulty(fault, response, self._quota_headers(now), self.epoch + now)
            if response is not None:
                headers = shown_headers(self.forms, response.status, response.headers)
                response = response._replace(headers=headers)
        silent = fault is not None and is_silent(fault)
        record = RequestRecord(
            endpoint=endpoint.value if endpoint else "unknown",
            at=now,
            status=None if silent or response is None else response.status,
            path="/" + call.path.strip("/"),
            params=dict(call.params),
            body=call.body,
            authorized=call.authorization is not None,
            fault=fault.name if fault else None,
        )
        self.requests.append(record)
        return Exchange(response, fault, record, self.ledger[charged_before:])

    def respond(self, call: IncomingRequest, now: float) -> HttpResponse:
        """The API's response, without faults."""
        if call.authorization != f"Bearer {self.api_key}":
            return self._response(error_response(401, "Invalid API key", "invalid_api_key"), now, quota=False)
        if not self.window.take(now):
            return self._response(error_response(429, "Rate limit exceeded", "rate_limit_exceeded"), now)
        endpoint, ids = route(call.method, call.path)
        match endpoint:
            case Endpoint.CREATE:
                return self._response(self._create(call.body, now), now)
            case Endpoint.EDIT:
                return self._response(self._edit(call.body, now), now)
            case Endpoint.STATUS:
                return self._response(self._status(call.params, now), now)
            case Endpoint.AVATAR:
                return self._response(self._avatar(ids[0], now), now)
            case Endpoint.LOOK:
                return self._response(self._look(ids[0], ids[1], now), now)
            case Endpoint.LIST:
                return self._response(self._list(call.params, now), now)
        return self._response(_NOT_FOUND, now)

    def _create(self, body: Any, now: float) -> ErrorResponse | tuple[int, Any]:
        body = accepted_create(self.forms, body)
        if wrong := check_create(body):
            return wrong
        price = price_of(body, edit=False)
        if price > self.balance:
            return error_response(402, "Insufficient credits", "INSUFFICIENT_CREDITS")
        avatar_id = self._new_id("avtr", self.avatars)
        traits = traits_of(avatar_id)
        avatar = FakeAvatar(avatar_id, body.get("name") or traits["name"], traits, created_at=now)
        self.avatars[avatar_id] = avatar
        look = self._new_look(avatar, body, now)
        if "prompt" in body:
            self.generation.start(look, body, now)
        else:
            self.generation.schedule_webhook(look)
            if self.forms.looks_of_images == "each":
                for _ in images_of(body)[1:]:
                    self._new_look(avatar, {**body, "webhook_url": None}, now)
        return self._charge(price, look, body, "create")

    def _edit(self, body: Any, now: float) -> ErrorResponse | tuple[int, Any]:
        if wrong := check_edit(body):
            return wrong
        source = self._find_look(body["avatar_id"], body["look_id"])
        if isinstance(source, ErrorResponse):
            return source
        if self.generation.state(source, now) != "ready":
            return error_response(400, "The source look has no image", "NO_IMAGE_AVAILABLE")
        price = price_of(body, edit=True)
        if price > self.balance:
            return error_response(402, "Insufficient credits", "INSUFFICIENT_CREDITS")
        look = self._new_look(self._edited_avatar(source.avatar, now), body, now, source)
        self.generation.start(look, body, now)
        return self._charge(price, look, body, "edit")

    def _edited_avatar(self, avatar: FakeAvatar, now: float) -> FakeAvatar:
        """The avatar to which an edit adds its look: a public one is copied into the workspace."""
        if not avatar.public or self.forms.copies == "none":
            return avatar
        copies = (known for known in self.avatars.values() if known.copy_of is avatar)
        known = next(copies, None) if self.forms.copies == "one" else None
        return known or self._copy(avatar, now)

    def _copy(self, avatar: FakeAvatar, now: float) -> FakeAvatar:
        copy = FakeAvatar(
            self._new_id("avtr", self.avatars), avatar.name, avatar.traits, created_at=now, copy_of=avatar
        )
        self.avatars[copy.id] = copy
        for look in avatar.looks:
            twin = attrs.evolve(
                look, id=self._new_id("look", self.looks), avatar=copy, picture_of=look.id, rendered=None
            )
            copy.looks.append(twin)
            self.looks[twin.id] = twin
        return copy

    def _status(self, params: Mapping[str, str], now: float) -> ErrorResponse | tuple[int, Any]:
        for field, code in (("avatar_id", "MISSING_AVATAR_ID"), ("look_id", "MISSING_LOOK_ID")):
            if not params.get(field):
                return error_response(400, f"{field} is required", code)
        look = self._find_look(params["avatar_id"], params["look_id"])
        if isinstance(look, ErrorResponse):
            return look
        return 200, status_body(
            look, self.generation.state(look, now), self.picture_url(look), self.vocabulary, self.forms
        )

    def _avatar(self, avatar_id: str, now: float) -> ErrorResponse | tuple[int, Any]:
        avatar = self.avatars.get(avatar_id)
        if avatar is None:
            return error_response(404, "Avatar not found")
        state_of = self.generation.state
        url, preview = self.picture_url, self.preview_url
        looks = [
            group_look(look, state_of(look, now), url(look), preview(look), self.vocabulary)
            for look in avatar.looks
        ]
        ready = next((look for look in avatar.looks if state_of(look, now) == "ready"), None)
        return 200, group_body(avatar, looks, self.picture_url(ready) if ready else None, self.epoch)

    def _look(self, avatar_id: str, look_id: str, now: float) -> ErrorResponse | tuple[int, Any]:
        look = self._find_look(avatar_id, look_id)
        if isinstance(look, ErrorResponse):
            return look
        return 200, self._look_body(look, now)

    def _look_body(self, look: FakeLook, now: float) -> dict[str, Any]:
        state = self.generation.state(look, now)
        return look_body(look, state, self.picture_url(look), self.preview_url(look), self.vocabulary)

    def _list(self, params: Mapping[str, str], now: float) -> ErrorResponse | tuple[int, Any]:
        for switch in ("onlyPublic", "selfie"):
            if params.get(switch, "false") not in ("true", "false"):
                return invalid(switch, f"{switch} must be true or false")
        public = params.get("onlyPublic", "false")
        own = [avatar for avatar in self.avatars.values() if not avatar.public]
        shown = [] if public == "true" else own
        shown += [avatar for avatar in self.avatars.values() if avatar.public]
        entries = [
            self._look_body(look, now)
            for avatar in shown
            for look in avatar.looks
            if self._list_pending or self.generation.state(look, now) == "ready"
        ]
        return 200, filter_list(entries, params)

    def _find_look(self, avatar_id: str, look_id: str) -> FakeLook | ErrorResponse:
        if avatar_id not in self.avatars:
            return error_response(404, "Avatar not found")
        look = self.looks.get(look_id)
        return look if look and look.avatar.id == avatar_id else error_response(404, "Look not found")

    def _new_look(
        self, avatar: FakeAvatar, body: Mapping[str, Any], now: float, source: FakeLook | None = None
    ) -> FakeLook:
        look = FakeLook(
            id=self._new_id("look", self.looks),
            avatar=avatar,
            name=body.get("look_name") or f"{avatar.name} {len(avatar.looks) + 1}",
            place=body.get("place") or (source.place if source else "studio"),
            style=body.get("style") or ("raw" if source else "iphone"),
            format=body.get("format") or (source.format if source else "vertical"),
            resolution=body.get("resolution") or "2K",
            prompt=body.get("prompt"),
            created_at=now,
            done_at=now,
            settled_on_demand="prompt" not in body,
            tags=body.get("tags"),
            webhook_url=body.get("webhook_url"),
        )
        avatar.looks.append(look)
        self.looks[look.id] = look
        return look

    def _charge(
        self, price: Decimal, look: FakeLook, body: Mapping[str, Any], endpoint: str
    ) -> tuple[int, Any]:
        self.balance -= price
        self.ledger.append(Charge(price, look.avatar.id, look.id, {**body, "endpoint": endpoint}))
        return self.forms.created, {"avatar_id": look.avatar.id, "look_id": look.id}

    def _new_id(self, prefix: str, existing: Mapping[str, object]) -> str:
        while True:
            new = f"{prefix}_{self._ids.getrandbits(48):012x}"
            if new not in existing:
                return new

    def _response(
        self, result: ErrorResponse | tuple[int, Any], now: float, *, quota: bool = True
    ) -> HttpResponse:
        status, body = result
        if isinstance(result, ErrorResponse):
            body = error_body(self.forms, result.body)
        headers = {"Content-Type": "application/json; charset=utf-8", "Date": self._date_text(now)}
        if quota:
            headers.update(self._quota_headers(now))
            if status == 429 and self._retry_after:
                headers["Retry-After"] = str(max(1, ceil(self.window.resets_at(now) - now)))
        headers = shown_headers(self.forms, status, headers)
        return HttpResponse(status, headers, body if isinstance(body, bytes) else encode(body))

    def _quota_headers(self, now: float) -> dict[str, str]:
        if self.window.limit is None:
            return {}
        reset = now + self.window.seconds if self.forms.reset_moves else self.window.resets_at(now)
        return {
            "X-RateLimit-Limit": str(self.window.limit),
            "X-RateLimit-Remaining": str(self.window.remaining(now)),
            **reset_header(self.forms, self.epoch + reset, reset - now),
        }

    def _date_text(self, now: float) -> str:
        second = int(self.epoch + now)
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]
