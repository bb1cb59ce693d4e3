"""Builds a campaign item by item, and records every problem."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import attrs

from hoox_async import BatchItem, InvalidRequest, LookEdit, LookRef

from . import fields
from .fields import RawFields
from .problems import ProblemList, did_you_mean

_KEY_PART = r"\w(?:[\w.+@-]*\w)?"
PART_KEY = re.compile(_KEY_PART)
ITEM_KEY = re.compile(rf"{_KEY_PART}(?:/{_KEY_PART})*")
_LONGEST_KEY = 100
PART_FORM = f"letters, digits, and - _ . + @ between them, at most {_LONGEST_KEY}"
ITEM_FORM = f"parts made of {PART_FORM}; a slash between two parts, such as alex/podcast-2"
VERSION_MARK = "~"
"""Stands before a version's name in a key, such as ``alex/podcast~4k``. No key of a file can hold it."""


class ItemOrigin(NamedTuple):
    """Where an item comes from: the keys of its avatar and scene, the variation (from 1), and its line."""

    avatar: str
    scene: str
    variation: int
    line: int


@attrs.frozen
class Campaign:
    """The items to make, sources before the looks made from them, and the origin of each by its key."""

    items: tuple[BatchItem, ...]
    origins: Mapping[str, ItemOrigin]

    @property
    def credits(self) -> Decimal:
        """What all items cost in credits, if none was paid for before."""
        return sum((item.request.credits for item in self.items), Decimal(0))


def is_key(text: object, form: re.Pattern[str]) -> bool:
    """Whether this can be a key: text of this form, which is safe in a pattern and in a file name."""
    return isinstance(text, str) and len(text) <= _LONGEST_KEY and form.fullmatch(text) is not None


_AVATAR_KINDS = "a prompt, image_urls, or avatar_id and look_id"
_SOURCE_FORM = "the key of an avatar from above, or avatar_id:look_id"
_AVATAR_FIELDS = frozenset(("key", "avatar_id", "look_id", *fields.PROMPT.fields, *fields.IMAGES.fields))
MOST_ITEMS = 200_000


class CampaignBuilder:
    """Collects the items. Keys of avatars and looks share one namespace."""

    def __init__(self, problems: ProblemList) -> None:
        self.problems = problems
        self.sources: dict[str, LookRef | str] = {}
        """For the key of each valid avatar or look, the source that a look made from it has."""
        self.faulty: set[str] = set()
        """Keys of avatars and looks with problems, which are not reported again where they are used."""
        self._lines: dict[str, int] = {}
        self._items: list[BatchItem] = []
        self._origins: dict[str, ItemOrigin] = {}

    def campaign(self) -> Campaign:
        """The campaign with all items added so far."""
        return Campaign(tuple(self._items), dict(self._origins))

    def claim(self, raw: RawFields, key: Any, form: re.Pattern[str]) -> str | None:
        """Reserve this key. Returns None, and records a problem, if it is malformed or already taken."""
        line, name = raw.line_of("key"), raw.field("key")
        if not is_key(key, form):
            expected = PART_FORM if form is PART_KEY else ITEM_FORM
            if key is None:
                expected = f"a key of your own: {expected}"
            self.problems.add(line, name, key, expected)
            return None
        if (other := self._lines.get(key)) is not None:
            self.problems.add(line, name, key, f"a key that is used once; line {other} has it already")
            return None
        self._lines[key] = raw.line
        return str(key)

    def avatar(self, raw: RawFields) -> None:
        """Add an avatar: one to be made from a prompt or pictures, or an existing one."""
        values = raw.values
        key = self.claim(raw, values.get("key"), PART_KEY)
        if key is not None:
            self.faulty.add(key)  # until the whole avatar proves valid
        existing = "avatar_id" in values or "look_id" in values
        kind_count = ("prompt" in values) + ("image_urls" in values) + existing
        if kind_count != 1:
            found = [name for name in ("prompt", "image_urls", "avatar_id", "look_id") if name in values]
            self.problems.add(
                raw.line, raw.name or "row", ", ".join(found) or None, f"one of these: {_AVATAR_KINDS}"
            )
            fields.check_names(raw, _AVATAR_FIELDS, self.problems)
            return
        if existing:
            source: LookRef | str | None = self._existing(raw)
        else:
            source = self._created(raw, key)
        if key is not None and source is not None:
            self.faulty.discard(key)
            self.sources[key] = source

    def look(self, raw: RawFields, key: str | None, source: LookRef | str | None) -> None:
        """Add a look. ``key`` and ``source`` are None if they have a problem, which is recorded already."""
        given: Any = source if source is not None else "x"
        request = fields.build(fields.EDIT, raw, self.problems, source=given)
        if key is None:
            return
        if request is None or source is None:
            self.faulty.add(key)
            return
        self.sources[key] = key
        self._add(key, request, origin_of_key(key, avatar=_avatar_of(raw), line=raw.line))

    def variation(self, raw: RawFields, request: LookEdit, avatar: str, scene: str, n: int) -> None:
        """Add one look of the matrix: the scene's request, made from this avatar.

        The first variation has no number in its key, so asking for more variations later changes no key.
        """
        key = self.claim(raw, f"{avatar}/{scene}" + (f"-{n}" if n > 1 else ""), ITEM_KEY)
        if key is not None:
            made = attrs.evolve(request, source=self.sources[avatar])
            self.sources[key] = key
            self._add(key, made, ItemOrigin(avatar, scene, n, raw.line))

    def source(self, raw: RawFields) -> LookRef | str | None:
        """The source that the field ``avatar`` names: an avatar or a look from above, or a ref."""
        value = raw.values.get("avatar")
        if isinstance(value, str):
            if value in self.sources:
                return self.sources[value]
            if value in self.faulty:
                return None  # its own problem is recorded already
            if ":" in value:
                try:
                    return LookRef.parse(value)
                except InvalidRequest:
                    pass
            hint = did_you_mean(value, self.sources)
        else:
            hint = ""
        self.problems.add(raw.line_of("avatar"), raw.field("avatar"), value, _SOURCE_FORM + hint)
        return None

    def ref(self, raw: RawFields) -> LookRef | None:
        """The ref made of the fields ``avatar_id`` and ``look_id``, or None with a recorded problem."""
        wrong = False
        for name in ("avatar_id", "look_id"):
            value = raw.values.get(name)
            if not isinstance(value, str) or not value.strip() or ":" in value:
                self.problems.add(raw.line_of(name), raw.field(name), value, "an id as the API gave it")
                wrong = True
        return None if wrong else LookRef(raw.values["avatar_id"].strip(), raw.values["look_id"].strip())

    def _existing(self, raw: RawFields) -> LookRef | None:
        fields.check_names(raw, ("key", "avatar_id", "look_id"), self.problems)
        return self.ref(raw)

    def _created(self, raw: RawFields, key: str | None) -> str | None:
        kind = fields.PROMPT if "prompt" in raw.values else fields.IMAGES
        fields.check_names(raw, ("key", *kind.fields), self.problems)
        request = fields.build(kind, raw, self.problems)
        if request is None or key is None:
            return None
        self._add(key, request, ItemOrigin(key, "avatar", 1, raw.line))
        return key

    def _add(self, key: str, request: Any, origin: ItemOrigin) -> None:
        self._items.append(BatchItem(key, request))
        self._origins[key] = origin


def origin_of_key(key: str, *, avatar: str = "", line: int = 0) -> ItemOrigin:
    """The origin of a single look, from its key: ``alex/podcast-2`` is scene ``podcast``, variation 2.

    ``avatar`` is that of a key without a slash. The name of a version stays with the scene.
    """
    base, mark, version = key.partition(VERSION_MARK)
    head, _, tail = base.rpartition("/")
    scene, dash, number = tail.rpartition("-")
    if not (dash and number.isascii() and number.isdigit() and len(number) < 7):
        scene, number = tail, "1"
    return ItemOrigin(head or avatar, scene + mark + version, int(number), line)


def _avatar_of(raw: RawFields) -> str:
    named = raw.values.get("avatar", raw.values.get("avatar_id"))
    return named.partition(":")[0] if isinstance(named, str) else ""
