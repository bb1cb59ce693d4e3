"""The ways to name a look: a `LookRef`, its text, or anything with a ``.ref``."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from ..errors import InvalidRequest
from .models import ID, LookRef, is_id


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


def ref_of(named: Any) -> LookRef:
    """The ref of anything that names a look. Raises `InvalidRequest`."""
    if isinstance(named, LookRef):
        ref = named
    elif isinstance(named, str):
        ref = LookRef.parse(named)
    else:
        ref = getattr(named, "ref", None)  # type: ignore[assignment]
    if not isinstance(ref, LookRef):
        raise InvalidRequest("ref", named, "a LookRef, its text or anything with a .ref")
    if not is_usable(ref):
        raise InvalidRequest("ref", str(ref), IDS)
    return ref


IDS = f"the ids of a look as the API gives them, {ID}"


def is_usable(ref: LookRef) -> bool:
    """Whether a look can have these ids."""
    return is_id(ref.avatar_id) and is_id(ref.look_id)
