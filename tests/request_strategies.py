"""Arbitrary requests, intents and JSON for the property tests of the core."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from hoox_async import (
    Evidence,
    Format,
    ImageAvatar,
    Look,
    LookEdit,
    LookRef,
    LookStatus,
    PromptAvatar,
    Request,
    Resolution,
    Style,
)
from hoox_async._api.models import LookFailure
from hoox_async._api.webhook_payloads import Delivery
from hoox_async._core.intents.intent import Attempt, Intent, IntentState, Reason

texts = st.text(min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
ids = st.text(st.characters(categories=["L", "N"], include_characters="_-"), min_size=1, max_size=12)
urls = ids.map(lambda part: f"https://media.example/{part}.jpg")
refs = st.builds(LookRef, ids, ids)
moments = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))
credits = st.integers(0, 200).map(lambda halves: Decimal(halves) / 2)

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_common: dict[str, st.SearchStrategy[Any]] = {
    "webhook_url": st.none() | urls,
    "metadata": st.dictionaries(st.text(), st.text(), max_size=3),
    "extra": st.dictionaries(st.sampled_from(["seed", "mood", "camera"]), json_values, max_size=2),
}
prompts = st.builds(
    PromptAvatar,
    prompt=texts,
    style=st.sampled_from(Style),
    format=st.sampled_from(Format),
    resolution=st.sampled_from(Resolution),
    name=st.none() | texts,
    place=st.none() | texts,
    element_images=st.lists(urls, max_size=2),
    **_common,
)
image_avatars = st.builds(
    ImageAvatar,
    image_urls=st.lists(urls, min_size=1, max_size=3),
    name=st.none() | texts,
    place=st.none() | texts,
    **_common,
)
edits = st.builds(
    LookEdit,
    source=refs | texts,
    prompt=texts,
    style=st.none() | st.sampled_from(Style),
    format=st.none() | st.sampled_from(Format),
    resolution=st.sampled_from(Resolution),
    images=st.lists(urls, max_size=2),
    upscale=st.booleans(),
    look_name=st.none() | texts,
    place=st.none() | texts,
    tags=st.lists(texts, max_size=2),
    **_common,
)
requests: st.SearchStrategy[Request] = prompts | image_avatars | edits
looks = st.builds(
    Look,
    ref=refs,
    status=st.sampled_from(LookStatus),
    thumbnail_url=st.none() | urls,
    error=st.none() | st.builds(LookFailure, code=st.none() | texts, message=texts),
    raw=st.dictionaries(st.text(), json_values, max_size=3),
)
_intent: dict[str, st.SearchStrategy[Any]] = {
    "key": texts,
    "own_key": st.booleans(),
    "request": requests,
    "digest": ids,
    "planned_at": moments,
    "state": st.sampled_from(IntentState),
    "source": st.none() | refs,
    "attempts": st.lists(st.builds(Attempt, ids, moments, credits), max_size=3).map(tuple),
    "ref": st.none() | refs,
    "evidence": st.none() | st.sampled_from(Evidence),
    "accepted_at": st.none() | moments,
    "settled_at": st.none() | moments,
    "look": st.none() | looks,
    "reason": st.none() | st.builds(Reason, st.none() | st.integers(100, 599), st.none() | texts, texts),
    "candidates": st.lists(refs, max_size=2).map(tuple),
    "older": st.lists(refs, max_size=2).map(tuple),
    "unlisted": st.lists(ids, max_size=2).map(tuple),
    "past_spent": credits,
    "past_at_risk": credits,
    "past_failed": credits,
    "past_attempts": st.lists(ids, max_size=2).map(tuple),
}
intents = st.builds(Intent, previous=st.none() | st.builds(Intent, **_intent), **_intent)
deliveries = st.builds(
    Delivery,
    look_id=ids,
    status=st.sampled_from(LookStatus),
    avatar_id=st.none() | ids,
    thumbnail_url=st.none() | urls,
    error_code=st.none() | texts,
    error_message=st.none() | texts,
)
