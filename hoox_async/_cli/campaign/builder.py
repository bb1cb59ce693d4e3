"""Puts a campaign together, item by item, and notes what doesn't fit."""

from __future__ import annotations

import re
from typing import Any

import attrs

from hoox_async import BatchItem, InvalidRequest, LookEdit, LookRef

from . import fields
from .campaign import ITEM_FORM, ITEM_KEY, PART_FORM, PART_KEY, Campaign, Place, is_key
from .fields import Raw
from .problems import Faults, did_you_mean

AVATAR_KINDS = "a prompt, image_urls, or avatar_id and look_id"
_SOURCE_FORM = "the key of an avatar that stands above, or avatar_id:look_id"
_AVATAR_FIELDS = frozenset(("key", "avatar_id", "look_id", *fields.PROMPT_FIELDS, *fields.IMAGE_FIELDS))
MOST_ITEMS = 200_000


class Builder:
    """The items so far. Keys of avatars and looks share one space of names."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.sources: dict[str, LookRef | str] = {}
        """What an avatar's or a look's key stands for as a source; also of those that were faulty."""
        self.broken: set[str] = set()
        self._lines: dict[str, int] = {}
        self._items: list[BatchItem] = []
        self._places: dict[str, Place] = {}

    def campaign(self) -> Campaign:
        """All of it."""
        return Campaign(tuple(self._items), dict(self._places))

    def claim(self, raw: Raw, key: Any, form: re.Pattern[str], *, field: str = "key") -> str | None:
        """The key, if it can be one and nobody has it; else None, with the fault noted."""
        line = raw.line_of(field)
        name = raw.field(field)
        if not is_key(key, form):
            expected = PART_FORM if form is PART_KEY else ITEM_FORM
            if key is None:
                expected = f"a key of your own: {expected}"
            self.faults.add(line, name, key, expected)
            return None
        if (other := self._lines.get(key)) is not None:
            self.faults.add(line, name, key, f"a key that stands once; line {other} has it already")
            return None
        self._lines[key] = raw.line
        return str(key)

    def avatar(self, raw: Raw) -> None:
        """An avatar: made from a prompt or pictures, or one that exists already."""
        values = raw.values
        key = self.claim(raw, values.get("key"), PART_KEY)
        if key is not None:
            self.broken.add(key)  # until all of it is right; what is made from it is then not told as unknown
        existing = "avatar_id" in values or "look_id" in values
        kinds = ("prompt" in values) + ("image_urls" in values) + existing
        if kinds != 1:
            found = [name for name in ("prompt", "image_urls", "avatar_id", "look_id") if name in values]
            self.faults.add(
                raw.line, raw.name or "row", ", ".join(found) or None, f"one of these: {AVATAR_KINDS}"
            )
            fields.check_names(raw, _AVATAR_FIELDS, self.faults)
            return
        if existing:
            source: LookRef | str | None = self._existing(raw)
        else:
            source = self._created(raw, key)
        if key is not None and source is not None:
            self.broken.discard(key)
            self.sources[key] = source

    def look(self, raw: Raw, key: str | None, source: LookRef | str | None, place: Place) -> None:
        """A look made from a source. ``key`` and ``source`` are None where they are faulty (and noted)."""
        given: Any = source if source is not None else "x"
        request = fields.build(fields.EDIT, raw, self.faults, source=given)
        if key is None:
            return
        if request is None or source is None:
            self.broken.add(key)
            return
        self.sources[key] = key
        self._add(key, request, place)

    def variation(self, raw: Raw, request: LookEdit, avatar: str, scene: str, n: int) -> None:
        """One look of a matrix: the scene's request, made from this avatar.

        The first one has no number in its key: asking for more of them later keeps what is paid.
        """
        key = self.claim(raw, f"{avatar}/{scene}" + (f"-{n}" if n > 1 else ""), ITEM_KEY)
        if key is not None:
            made = attrs.evolve(request, source=self.sources[avatar])
            self.sources[key] = key
            self._add(key, made, Place(avatar, scene, n, raw.line))

    def source(self, raw: Raw, field: str) -> LookRef | str | None:
        """What the field names as a source: an avatar or look that stands above, or a ref."""
        value = raw.values.get(field)
        if isinstance(value, str):
            if value in self.sources:
                return self.sources[value]
            if value in self.broken:
                return None  # its own fault is told already
            if ":" in value:
                try:
                    return LookRef.parse(value)
                except InvalidRequest:
                    pass
            hint = did_you_mean(value, self.sources)
        else:
            hint = ""
        self.faults.add(raw.line_of(field), raw.field(field), value, _SOURCE_FORM + hint)
        return None

    def ref(self, raw: Raw) -> LookRef | None:
        """The ref that ``avatar_id`` and ``look_id`` make."""
        wrong = False
        for name in ("avatar_id", "look_id"):
            value = raw.values.get(name)
            if not isinstance(value, str) or not value.strip() or ":" in value:
                self.faults.add(raw.line_of(name), raw.field(name), value, "an id as the API gave it")
                wrong = True
        return None if wrong else LookRef(raw.values["avatar_id"].strip(), raw.values["look_id"].strip())

    def _existing(self, raw: Raw) -> LookRef | None:
        fields.check_names(raw, ("key", "avatar_id", "look_id"), self.faults)
        return self.ref(raw)

    def _created(self, raw: Raw, key: str | None) -> str | None:
        kind = fields.PROMPT if "prompt" in raw.values else fields.IMAGES
        fields.check_names(raw, ("key", *kind.fields), self.faults)
        request = fields.build(kind, raw, self.faults)
        if request is None or key is None:
            return None
        self._add(key, request, Place(key, "avatar", 1, raw.line))
        return key

    def _add(self, key: str, request: Any, place: Place) -> None:
        self._items.append(BatchItem(key, request))
        self._places[key] = place
