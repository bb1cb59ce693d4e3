"""Names of picture files from templates."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import pytest
from cli_kit import ItemOrigin, parse_campaign
from hypothesis import given
from hypothesis import strategies as st

from hoox_async import BatchItem, ConfigurationError, LookEdit, PromptAvatar
from hoox_async._cli.pictures import PLACEHOLDERS, check_template, picture_name, safe_part

# the names that Windows keeps for devices, with any suffix
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in "0123456789¹²³")}
LOOK = BatchItem("alex/car-2", LookEdit("alex", "x", style="car"))
PLACE = ItemOrigin("alex", "car", 2, 1)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{avatar}/{scene}-{n}", "alex/car-2"),
        ("{key}", "alex-car-2"),
        ("{n:03} {avatar}", "002-alex"),
        ("{style}_{format}", "car_default"),
        ("{look_id}", "look_9"),
        ("a\\{scene}", "a/car"),
        ("plain {{x}}", "plain-x"),
    ],
)
def test_templates_are_filled(template: str, path: str) -> None:
    """Placeholders are filled; a slash in the template makes a folder, one in a value does not."""
    assert picture_name(template, LOOK, PLACE, look_id="look_9") == PurePosixPath(path)


@pytest.mark.parametrize(
    "template",
    [
        "",
        "/absolute/{key}",
        "../{key}",
        "a//b",
        "{key}/",
        "{scen}",
        "{}",
        "{key",
        "{key.real}",
        "{key!r}",
        "{key:>9999999}",
        "{n:99}",
        "{n[0]}",
    ],
)
def test_unusable_templates_are_refused(template: str) -> None:
    """A template that leaves the folder, or that has an unknown placeholder or width, is refused."""
    with pytest.raises(ConfigurationError, match="--names"):
        picture_name(template, LOOK, PLACE)


def test_mistyped_placeholder_gets_a_hint() -> None:
    """The error for a mistyped placeholder suggests the right one."""
    with pytest.raises(ConfigurationError, match="did you mean 'scene'"):
        picture_name("{scen}", LOOK, PLACE)


def test_two_items_never_share_a_file() -> None:
    """A template that does not tell two items apart is refused; keys that make one file name are not."""
    campaign = parse_campaign("key,prompt\nalex,x\nAlex,x\n", "csv")
    with pytest.raises(ConfigurationError, match="alex and Alex would both be saved"):
        check_template("{scene}", campaign)
    check_template("{avatar}/{scene}", campaign)
    check_template("{avatar}/{look_id}", parse_campaign("key,prompt\nalex,x\nmara,x\n", "csv"))


def test_the_picture_of_an_avatar_has_the_scene_avatar() -> None:
    """An avatar's own picture is named with the scene ``avatar``."""
    campaign = parse_campaign("key,prompt\nalex,x\n", "csv")
    [item] = campaign.items
    assert str(picture_name("{avatar}/{scene}-{n}", item, campaign.origins["alex"])) == "alex/avatar-1"


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(PLACEHOLDERS))
def test_no_value_leaves_the_folder(avatar: str, scene: str, name: str) -> None:
    """Whatever the values are, the path has as many parts as the template, so it stays in the folder."""
    item = BatchItem(f"{avatar}/{scene}", PromptAvatar("x"))
    path = picture_name(f"{{avatar}}/{{{name}}}", item, ItemOrigin(avatar, scene, 1, 1), look_id=scene)
    assert len(path.parts) == 2
    assert not path.is_absolute()
    assert ".." not in path.parts


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("podcast-2", "podcast-2"),
        ("../../x", "x"),
        ("a/b\\c:d", "a-b-c-d"),
        ("CON", "_CON"),
        ("nul.jpg", "_nul.jpg"),
        ("com1", "_com1"),
        ("café 見本", "café-見本"),
        ("<script>", "script"),
        ("...", "look"),
        ("", "look"),
        ("ends. ", "ends"),
    ],
)
def test_safe_part_of_known_texts(text: str, part: str) -> None:
    """`safe_part` keeps readable text and removes what is harmful in a path."""
    assert safe_part(text) == part


@given(st.text(max_size=300))
def test_safe_part_is_one_harmless_part(text: str) -> None:
    """`safe_part` of any text is one short part of a path, safe on POSIX and Windows, and stable."""
    part = safe_part(text)
    assert PurePosixPath("folder", part).parts == ("folder", part)
    assert PureWindowsPath("folder", part).parts == ("folder", part)
    assert part.partition(".")[0].upper() not in RESERVED
    assert 0 < len(part.encode()) <= 121
    assert part == part.strip(" .")
    assert safe_part(part) == part
