"""The ways to name a look: a `LookRef`, its text, or anything with a ``.ref``."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from ..errors import InvalidRequest
from .models import LookRef


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
        return named
    if isinstance(named, str):
        return LookRef.parse(named)
    ref = getattr(named, "ref", None)
    if isinstance(ref, LookRef):
        return ref
    raise InvalidRequest("ref", named, "a LookRef, its text or anything with a .ref")
