"""Every field of a request goes through every reader and writer, with a value that is not its default."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from internals_kit import Intent, digest, dump_intent, load_intent

from hoox_async import (
    HooxSession,
    ImageAvatar,
    LookEdit,
    LookRef,
    Outcome,
    OutcomeState,
    PromptAvatar,
    Request,
)
from hoox_async._api.endpoints import request_body
from hoox_async._api.requests import RequestField, fields_of, json_value
from hoox_async._cli import run
from hoox_async._cli.campaign.parse import parse_campaign
from hoox_async._cli.request_fields import FIELDS, changed_fields, described
from hoox_async._report.jsonl import outcome_record
from hoox_async._report.look_cards import sections
from hoox_async._report.page_pictures import SheetPicture
from hoox_async.sandbox.received_requests import check_create, check_edit

SOURCE = LookRef("avtr_a", "look_1")
BASE: dict[type[Any], Request] = {
    PromptAvatar: PromptAvatar("A person"),
    ImageAvatar: ImageAvatar(["https://x.example/p.jpg"]),
    LookEdit: LookEdit(SOURCE, "A scene"),
}
EVERY = [
    pytest.param(kind, field, id=f"{kind.__name__}-{field.name}")
    for kind in BASE
    for field in fields_of(kind)
    if field.name != "source"
]
every_field = pytest.mark.parametrize(("kind", "field"), EVERY)


def fields_where(is_meant: Callable[[type[Any], RequestField], bool]) -> pytest.MarkDecorator:
    """For each field of which this is true."""
    chosen = [each for each in EVERY if is_meant(*each.values)]  # type: ignore[arg-type]
    return pytest.mark.parametrize(("kind", "field"), chosen)


NOT_SENT = ("metadata", "extra")
URL = "https://x.example/a.jpg"


def value_of(kind: type[Any], field: RequestField) -> Any:
    """A value that is not the field's default."""
    if field.choices:
        return field.choices[-1]
    if field.name in NOT_SENT:
        return {"client": "acme"} if field.name == "metadata" else {"seed": 7}
    if field.name == "webhook_url":
        return "https://hooks.example/looks"
    hint = getattr(attrs.fields(attrs.resolve_types(kind)), field.name).type
    if hint is bool:
        return True
    if hint in (str, str | None):
        return f"another {field.name}"
    return [URL, f"{URL}?2"] if FIELDS[field.name].column == "URLs" else ["one", "two"]


def with_field(kind: type[Any], field: RequestField) -> Request:
    """A request with that value."""
    request: Request = attrs.evolve(BASE[kind], **{field.name: value_of(kind, field)})
    assert request != BASE[kind]
    return request


def test_the_command_line_has_every_field() -> None:
    """The table of the command line has each field of a request but the source of an edit, and no other."""
    assert set(FIELDS) == {field.name for kind in BASE for field in fields_of(kind)} - {"source"}


@every_field
def test_a_record_brings_it_back(kind: type[Any], field: RequestField) -> None:
    """What a store writes is read as the same request."""
    request = with_field(kind, field)
    intent = Intent("k", True, request, digest(request), datetime(2025, 7, 1, tzinfo=UTC))
    assert load_intent(dump_intent(intent)).request == request


@every_field
def test_it_makes_another_key_if_it_describes_the_look(kind: type[Any], field: RequestField) -> None:
    """The digest differs where the field is part of the content, and only there."""
    assert (digest(with_field(kind, field)) != digest(BASE[kind])) == field.in_digest


@every_field
def test_the_api_is_sent_it_and_the_sandbox_checks_it(kind: type[Any], field: RequestField) -> None:
    """The body has it under its wire name; the sandbox takes it, and takes no value of another type."""
    request = with_field(kind, field)
    body = request_body(request, None, None)
    check = check_edit if kind is LookEdit else check_create
    assert check(body) is None
    if field.name == "extra":
        assert body["seed"] == 7
    for name in field.wire_names:
        assert body[name] == json_value(getattr(request, field.name))
        assert check({**body, name: {"wrong": "type"}}) is not None


@fields_where(lambda _, field: field.default is not attrs.NOTHING and bool(field.wire_names))
def test_given_in_extra_it_is_the_same_content(kind: type[Any], field: RequestField) -> None:
    """A field of the content that is optional may be given in ``extra`` by the API's name."""
    request = with_field(kind, field)
    [name] = field.wire_names
    assert attrs.evolve(BASE[kind], extra={name: json_value(getattr(request, field.name))}) == request


@every_field
async def test_the_typed_method_takes_it(
    kind: type[Any], field: RequestField, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spelled-out method of the session makes the same request."""
    made: list[Request] = []

    async def submit(_: HooxSession, request: Request, **__: Any) -> None:
        made.append(request)

    monkeypatch.setattr(HooxSession, "submit", submit)
    session = HooxSession("hx_test")
    method: Any = {
        PromptAvatar: session.create_avatar,
        ImageAvatar: session.create_avatar_from_images,
        LookEdit: session.edit_look,
    }[kind]
    needed = {each.name: getattr(BASE[kind], each.name) for each in fields_of(kind)
              if each.default is attrs.NOTHING}  # fmt: skip
    await method(**{**needed, field.name: value_of(kind, field)})
    assert made == [with_field(kind, field)]


def _given(kind: type[Any], field: RequestField) -> dict[str, Any]:
    """A row of a campaign that is to make the request."""
    base = {"key": "alex/one", "avatar": str(SOURCE), "prompt": "A scene"}
    if kind is not LookEdit:
        base = {"key": "alex", **({"prompt": "A person"} if kind is PromptAvatar else {})}
        base |= {} if kind is PromptAvatar else {"image_urls": ["https://x.example/p.jpg"]}  # type: ignore[dict-item]
    return {**base, field.name: value_of(kind, field)}


def _only_request(text: str, format: Any) -> Request:
    [item] = parse_campaign(text, format).items
    return item.request


@every_field
def test_a_campaign_in_json_lines_has_it(kind: type[Any], field: RequestField) -> None:
    """An object of JSON lines makes the request."""
    assert _only_request(json.dumps(_given(kind, field)), "jsonl") == with_field(kind, field)


@fields_where(lambda _, field: field.name != "extra")
def test_a_campaign_in_csv_has_it(kind: type[Any], field: RequestField) -> None:
    """A cell of CSV makes the request, where the field has a column."""
    row = _given(kind, field)
    if field.name == "metadata":
        row["metadata.client"] = row.pop("metadata")["client"]
    for name, value in row.items():
        if isinstance(value, list):
            row[name] = (" " if FIELDS[name].column == "URLs" else ",").join(value)
        elif isinstance(value, bool):
            row[name] = "yes"
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row))
    writer.writeheader()
    writer.writerow(row)
    assert _only_request(text.getvalue(), "csv") == with_field(kind, field)


def _toml(values: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{name} = {json.dumps(one)}" for name, one in value.items()) + "}"
        return json.dumps(value)

    return "".join(f"{name} = {text(value)}\n" for name, value in values.items())


@every_field
def test_a_campaign_in_toml_has_it(kind: type[Any], field: RequestField) -> None:
    """A table of TOML makes the request."""
    table = "looks" if kind is LookEdit else "avatars"
    text = f"[[{table}]]\n" + _toml(_given(kind, field))
    assert _only_request(text, "toml") == with_field(kind, field)


@fields_where(lambda kind, _: kind is LookEdit)
def test_a_matrix_gives_it_to_all_looks(kind: type[Any], field: RequestField) -> None:
    """``[matrix]`` takes the field of an edit, where the table says so, and else names it as unknown."""
    avatar = {"key": "alex", "avatar_id": "avtr_a", "look_id": "look_1"}
    scene = {"key": "one", "prompt": "A scene"}
    text = (
        "[[avatars]]\n"
        + _toml(avatar)
        + "[[scenes]]\n"
        + _toml(scene)
        + "[matrix]\n"
        + _toml({field.name: value_of(kind, field)})
    )
    if FIELDS[field.name].in_matrix:
        assert _only_request(text, "toml") == with_field(kind, field)
    else:
        with pytest.raises(Exception, match=field.name):
            parse_campaign(text, "toml")


@fields_where(lambda _, field: FIELDS[field.name].flag is not None)
def test_the_command_has_an_option_for_it(
    kind: type[Any], field: RequestField, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``create`` and ``edit`` make the request of their options."""
    made: list[Request] = []

    def make(request: Request, *_: Any) -> int:
        made.append(request)
        return 0

    command = "edit" if kind is LookEdit else "create"
    monkeypatch.setattr("hoox_async._cli.commands.one_look._make_look", make)
    flag = FIELDS[field.name].flag
    needed = {PromptAvatar: ["A person"], ImageAvatar: ["--image", "https://x.example/p.jpg"],
              LookEdit: [str(SOURCE), "A scene"]}[kind]  # fmt: skip
    value = value_of(kind, field)
    if field.name == "image_urls":
        needed = []
    assert flag is not None
    values = value if isinstance(value, list) else [] if value is True else [value]
    words = [word for one in values for word in (flag, one)] or [flag]
    assert run([command, *needed, *words]) == 0
    assert made == [with_field(kind, field)]


@fields_where(lambda kind, field: kind is not ImageAvatar and field.name in ("name", "look_name", "place"))
def test_an_empty_text_is_not_taken_for_an_option_that_is_not_given(
    kind: type[Any], field: RequestField, capsys: pytest.CaptureFixture[str]
) -> None:
    """An option with an empty text is bad usage, and the error names it."""
    words = ["edit", str(SOURCE), "A scene"] if kind is LookEdit else ["create", "A person"]
    assert run([*words, str(FIELDS[field.name].flag), ""]) == 2
    assert f"{FIELDS[field.name].flag}: " in capsys.readouterr().err


@every_field
def test_the_list_of_a_dry_run_shows_it(kind: type[Any], field: RequestField) -> None:
    """``--dry-run --list`` shows it with its label; prompts and pictures have their own place."""
    request = with_field(kind, field)
    if field.name in ("prompt", "image_urls", "webhook_url", "metadata"):
        assert changed_fields(request) == {}
    else:
        assert changed_fields(request) == {field.name: json_value(value_of(kind, field))}
        assert described(request).startswith(field.label)


@every_field
def test_the_report_has_it(kind: type[Any], field: RequestField) -> None:
    """Lines of JSON and the contact sheet have what describes the look; neither has the webhook URL."""
    outcome = Outcome("k", with_field(kind, field), OutcomeState.UNSENT)
    record = outcome_record(outcome)
    [section] = sections([outcome], [SheetPicture()])
    [card] = [*section.tall, *section.wide]
    details = dict(card.details)
    if field.name == "webhook_url":
        assert "hooks.example" not in json.dumps(record) + str(card)
    elif field.name == "metadata":
        assert (record["metadata"], details["Metadata: client"]) == ({"client": "acme"}, "acme")
    else:
        assert record["request"][field.name] == json_value(value_of(kind, field))
        assert field.name in ("prompt", "extra") or details[field.label]
