"""Makes a campaign of rows, each of which is an avatar or a look."""

from __future__ import annotations

from collections.abc import Iterator

from . import fields
from .builder import ITEM_KEY, PART_KEY, Campaign, CampaignBuilder, is_key
from .fields import RawFields
from .problems import ProblemList
from .variables import Templates

_SOURCE_FIELDS = ("avatar", "avatar_id", "look_id")
_CREATE = tuple(dict.fromkeys(("key", *fields.PROMPT_FIELDS, *fields.IMAGE_FIELDS)))
_EDIT = ("key", *_SOURCE_FIELDS, *fields.EDIT_FIELDS)
NAMES = tuple(dict.fromkeys((*_CREATE, *_EDIT)))


def campaign_of(rows: Iterator[RawFields], problems: ProblemList, templates: Templates) -> Campaign:
    """The campaign of these rows. Problems are recorded in ``problems``."""
    builder = CampaignBuilder(problems)
    for raw in map(templates.fill, rows):
        fields.check_names(raw, NAMES, problems)
        if any(name in raw.values for name in _SOURCE_FIELDS):
            _look(raw, builder)
        elif _is_look_key(raw.values.get("key")):
            _look_without_source(raw, builder)
        else:
            builder.avatar(raw)
    campaign = builder.campaign()
    if not problems.found and not campaign.items:
        problems.add(1, "file", None, "at least one row")
    return campaign


def _look(raw: RawFields, builder: CampaignBuilder) -> None:
    fields.check_names(raw, _EDIT, builder.problems)
    key = builder.claim(raw, raw.values.get("key"), ITEM_KEY)
    by_ids = "avatar_id" in raw.values or "look_id" in raw.values
    if by_ids and "avatar" in raw.values:
        expected = "either avatar, or avatar_id and look_id"
        builder.problems.add(raw.line_of("avatar"), raw.field("avatar"), raw.values["avatar"], expected)
    source = builder.ref(raw) if by_ids else builder.source(raw, "avatar")
    builder.look(raw, key, source)


def _is_look_key(key: object) -> bool:
    return is_key(key, ITEM_KEY) and not is_key(key, PART_KEY)


def _look_without_source(raw: RawFields, builder: CampaignBuilder) -> None:
    """Record the problem of a row that has a look's key but no source: the source is missing."""
    key = builder.claim(raw, raw.values["key"], ITEM_KEY)
    expected = f"what {raw.values['key']} is made from (only a key without a slash is an avatar's)"
    builder.problems.add(raw.line, "avatar", None, expected)
    builder.look(raw, key, None)
