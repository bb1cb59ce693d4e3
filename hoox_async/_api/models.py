"""The API's data types: avatars, looks, their states, and the quota."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeGuard, runtime_checkable

import attrs

from ..errors import InvalidRequest


class LookStatus(StrEnum):
    """The state of a look, in one vocabulary.

    The API says ``completed`` and ``failed`` on one page and ``ready`` and ``error`` on another;
    both are read as READY and FAILED. A status that this library does not know is UNRECOGNIZED: such a
    look is not settled, and the original text is in ``Look.raw``.
    """

    PENDING = "pending"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"
    UNRECOGNIZED = "unrecognized"

    @property
    def settled(self) -> bool:
        """Whether the look will not change any more."""
        return self is LookStatus.READY or self is LookStatus.FAILED


_NO_RAW: Mapping[str, Any] = {}


_MAX_ID = 512
ID = f"without control characters and of at most {_MAX_ID} bytes of UTF-8"


def is_id(value: object) -> TypeGuard[str]:
    """Whether an avatar or a look can have this id: a text that every store can hold and index (see `ID`).

    Control characters and lone surrogates can't be sent either.
    """
    is_text = isinstance(value, str) and bool(value.strip()) and value.isprintable()
    return is_text and len(str(value).encode()) <= _MAX_ID


def _id(instance: object, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest(attribute.name, value, "an id as the API gave it, a non-empty string")


@attrs.frozen(order=True)
class LookRef:
    """The ids that name one look. ``str(ref)`` is ``"avtr_abc:look_123"``; ``LookRef.parse`` reads that."""

    avatar_id: str = attrs.field(validator=_id)
    look_id: str = attrs.field(validator=_id)

    def __str__(self) -> str:
        return f"{self.avatar_id}:{self.look_id}"

    @property
    def ref(self) -> LookRef:
        """Returns itself, so that a ref can be used wherever something with a ``.ref`` is accepted."""
        return self

    @classmethod
    def parse(cls, text: str) -> LookRef:
        """Read ``"avatar_id:look_id"``. Raises `InvalidRequest` for anything else."""
        return _parsed(text, "ref")


def _parsed(text: object, field: str) -> LookRef:
    avatar_id, colon, look_id = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not (colon and avatar_id.strip() and look_id.strip()) or ":" in look_id:
        raise InvalidRequest(field, text, 'the form "avatar_id:look_id"')
    return LookRef(avatar_id.strip(), look_id.strip())


IDS = f"the ids of a look as the API gives them, {ID}"


@runtime_checkable
class HasRef(Protocol):
    """Anything that names a look: a `Look`, a `LookJob`, an `Outcome`, a `LookRef`."""

    @property
    def ref(self) -> LookRef | None:
        """The look's ref; None where there is no look."""
        ...


def ref_in(text: str) -> LookRef | None:
    """The ref whose text this is, ``"avatar_id:look_id"``; None for any other text."""
    try:
        return LookRef.parse(text)
    except InvalidRequest:
        return None


def ref_of(named: Any, field: str = "ref") -> LookRef:
    """The ref of anything that names a look. ``field`` is what an `InvalidRequest` calls it."""
    ref = _parsed(named, field) if isinstance(named, str) else getattr(named, "ref", None)
    if not isinstance(ref, LookRef):
        raise InvalidRequest(field, named, "a LookRef, its text or anything with a .ref")
    if not is_usable(ref):
        raise InvalidRequest(field, str(ref), IDS)
    return ref


def is_usable(ref: LookRef) -> bool:
    """Whether a look can have these ids."""
    return is_id(ref.avatar_id) and is_id(ref.look_id)


@attrs.frozen
class LookFailure:
    """Why a look could not be made, in the API's words."""

    code: str | None
    message: str

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]" if self.code else self.message


@attrs.frozen
class Look:
    """A look as one answer or webhook delivery showed it. ``raw`` is that whole answer."""

    ref: LookRef
    status: LookStatus
    thumbnail_url: str | None = None
    error: LookFailure | None = None
    raw: Mapping[str, Any] = attrs.field(default=_NO_RAW, repr=False, eq=False)

    @property
    def avatar_id(self) -> str:
        """The avatar that the look belongs to."""
        return self.ref.avatar_id

    @property
    def look_id(self) -> str:
        """The look's own id."""
        return self.ref.look_id

    def merged_with(self, later: Look) -> Look:
        """The look updated with ``later``, which was received after it. The same object if that adds nothing.

        The first settled status is final: another status is ignored, and the same one fills in a missing
        picture or reason. A look that is not settled is replaced.
        """
        if not self.status.settled:
            return self if later == self else later
        picture = self.thumbnail_url or later.thumbnail_url
        error = self.error or later.error
        adds = picture != self.thumbnail_url or error != self.error
        if later.status is not self.status or not adds:
            return self
        return attrs.evolve(self, thumbnail_url=picture, error=error, raw=later.raw or self.raw)


@attrs.frozen
class LookDetails:
    """A look with all its fields, from ``GET /avatar/{id}/look/{id}`` or ``GET /avatar/list``.

    A field that the answer did not have is None. ``status`` is None in the list (API reference).
    """

    ref: LookRef
    status: LookStatus | None = None
    name: str | None = None
    avatar_name: str | None = None
    gender: str | None = None
    age_range: str | None = None
    ethnicity: str | None = None
    hair_color: str | None = None
    place: str | None = None
    accessories: Any = None
    action: str | None = None
    emotion: str | None = None
    selfie: bool | None = None
    format: str | None = None
    thumbnail_url: str | None = None
    preview_url: str | None = None
    model_available: Any = None
    error_message: str | None = None
    raw: Mapping[str, Any] = attrs.field(default=_NO_RAW, repr=False, eq=False)


@attrs.frozen
class Avatar:
    """An avatar and all its looks, from one answer of ``GET /avatar/{id}``."""

    id: str
    name: str | None = None
    gender: str | None = None
    age: Any = None
    age_range: str | None = None
    ethnicity: str | None = None
    hair_color: str | None = None
    thumbnail_url: str | None = None
    looks: tuple[LookDetails, ...] = ()
    created_at: str | None = None
    raw: Mapping[str, Any] = attrs.field(default=_NO_RAW, repr=False, eq=False)


class QuotaSnapshot(NamedTuple):
    """The workspace's quota as the session knows it: requests a minute, and how many of them are left.

    ``resets_at`` is the moment at which the whole limit is free again, a datetime in UTC; None if it is free
    now. ``quota.resets_at.astimezone()`` is the same moment in the local time zone.
    """

    limit: int
    remaining: int
    resets_at: datetime | None = None


class ServerQuota(NamedTuple):
    """What the quota headers of one answer say; None where a header is missing or makes no sense.

    ``resets_in`` is in seconds, counted from the answer's own ``Date``.
    """

    limit: int | None = None
    remaining: int | None = None
    resets_in: float | None = None
