"""Campaign files in TOML."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from cli_kit import CampaignError, ItemOrigin, Problem, parse_campaign, read_campaign
from hypothesis import given
from hypothesis import strategies as st

from hoox_async import (
    BatchItem,
    ConfigurationError,
    Format,
    ImageAvatar,
    LookEdit,
    LookRef,
    PromptAvatar,
    Resolution,
    Style,
)
from hoox_async._cli.campaign.toml_file import TomlPositions

ROOT = Path(__file__).parents[2]


def problems(text: str | bytes) -> list[tuple[int, str]]:
    """The line and field of every problem."""
    with pytest.raises(CampaignError) as caught:
        parse_campaign(text, "toml")
    return [(problem.line, problem.field) for problem in caught.value.problems]


def one_problem(text: str | bytes) -> Problem:
    """The only problem."""
    with pytest.raises(CampaignError) as caught:
        parse_campaign(text, "toml")
    [problem] = caught.value.problems
    return problem


ALEX = '[[avatars]]\nkey = "alex"\nprompt = "Young entrepreneur"\n'


def test_the_example_makes_what_its_comments_say() -> None:
    """``examples/campaign.toml`` gives the items, credits and lines that its comments promise."""
    campaign = read_campaign(ROOT / "examples" / "campaign.toml")
    assert [item.key for item in campaign.items] == [
        "alex", "alex/podcast", "mara/podcast", "alex/podcast-2", "mara/podcast-2",
        "alex/stage", "mara/stage", "mara/rain",
    ]  # fmt: skip
    assert campaign.credits == Decimal("17.5")
    assert campaign.origins["alex/podcast-2"] == ItemOrigin("alex", "podcast", 2, 16)
    assert campaign.origins["mara/rain"][:3] == ("mara", "rain", 1)
    prompts = {item.key: getattr(item.request, "prompt", "") for item in campaign.items}
    assert prompts["alex/stage"] == (
        "Spring campaign, natural light. On a small stage, blue light behind, presenting a brass desk lamp"
    )


def test_avatars_of_each_kind() -> None:
    """A prompt, pictures, or ids make an avatar; what is made is an item, what exists is a source."""
    text = (
        ALEX + 'style = "selfie"\nformat = "horizontal"\nname = "Alex"\n'
        '[[avatars]]\nkey = "sam"\nimage_urls = ["https://me.test/sam.jpg"]\n'
        '[[avatars]]\nkey = "kim"\navatar_id = "avtr_1"\nlook_id = "look_2"\n'
        '[[looks]]\nkey = "kim/rain"\navatar = "kim"\nprompt = "rain"\n'
        '[[looks]]\nkey = "sam/rain"\navatar = "sam"\nprompt = "rain"\n'
        '[[looks]]\nkey = "other"\navatar = "avtr_5:look_6"\nprompt = "rain"\n'
        '[[looks]]\nkey = "sam/more"\navatar = "sam/rain"\nprompt = "more rain"\n'
    )
    items = {item.key: item.request for item in parse_campaign(text, "toml").items}
    assert items == {
        "alex": PromptAvatar("Young entrepreneur", style=Style.SELFIE, format=Format.HORIZONTAL, name="Alex"),
        "sam": ImageAvatar(["https://me.test/sam.jpg"]),
        "kim/rain": LookEdit(LookRef("avtr_1", "look_2"), "rain"),
        "sam/rain": LookEdit("sam", "rain"),
        "other": LookEdit(LookRef("avtr_5", "look_6"), "rain"),
        "sam/more": LookEdit("sam/rain", "more rain"),
    }


def test_matrix_takes_parts_and_defaults() -> None:
    """A matrix may name avatars and scenes; its fields apply where a scene has none of its own."""
    text = (
        ALEX + '[[avatars]]\nkey = "tom"\nprompt = "Tom"\n'
        '[[scenes]]\nkey = "car"\nprompt = "In a car"\nresolution = "1K"\n'
        '[[scenes]]\nkey = "desk"\nprompt = "At a desk"\nvariations = 2\n'
        '[[scenes]]\nkey = "unused"\nprompt = "Nowhere"\n'
        '[matrix]\navatars = ["tom"]\nscenes = ["desk", "car"]\nvariations = 1\n'
        'resolution = "4K"\nmetadata = { client = "acme" }\n'
    )
    campaign = parse_campaign(text, "toml")
    assert [item.key for item in campaign.items] == ["alex", "tom", "tom/desk", "tom/desk-2", "tom/car"]
    requests = {item.key: item.request for item in campaign.items}
    desk, car = requests["tom/desk"], requests["tom/car"]
    assert isinstance(desk, LookEdit)
    assert isinstance(car, LookEdit)
    assert desk.resolution is Resolution.FOUR_K
    assert desk.metadata == {"client": "acme"}
    assert car.resolution is Resolution.ONE_K


def test_more_variations_later_keep_the_first_key() -> None:
    """Asking for more variations adds keys and changes none, so nothing is paid for twice."""
    text = ALEX + '[[scenes]]\nkey = "car"\nprompt = "In a car"\n[matrix]\nvariations = '
    one = [item.key for item in parse_campaign(text + "1", "toml").items]
    three = [item.key for item in parse_campaign(text + "3", "toml").items]
    assert one == ["alex", "alex/car"]
    assert three == [*one, "alex/car-2", "alex/car-3"]


def test_all_problems_are_reported_at_once() -> None:
    """One error holds every problem of the file, in the order of its lines."""
    text = (
        '[[avatars]]\nkey = "a b"\nprompt = ""\nstyl = "x"\n'  # 1-4
        '[[avatars]]\nkey = "k"\nimage_urls = ["./a.jpg", "https://x.test/z", "C:\\\\x.jpg"]\n'  # 5-7
        "[[scenes]]\nkey = 's'\nprompt = '''\nstyl = 3\n'''\nformat = 'verticall'\nvariations = 0\n"  # 8-14
        '[[scens]]\nx = 1\n[matrix]\navatars = ["kk", "k"]\n'  # 15-18
        '[[looks]]\nkey = "q"\navatar = "kk"\n'  # 19-21
        '[[looks]]\nkey = "q2"\navatar = "k"\nprompt = "x"\nupscale = "yes"\n'  # 22-26
    )
    assert problems(text) == [
        (2, "avatars[1].key"), (3, "avatars[1].prompt"), (4, "avatars[1].styl"),
        (7, "avatars[2].image_urls[1]"), (7, "avatars[2].image_urls[3]"),
        (13, "scenes[1].format"), (14, "scenes[1].variations"),
        (15, "scens"), (18, "matrix.avatars[1]"),
        (19, "looks[1].prompt"), (21, "looks[1].avatar"), (26, "looks[2].upscale"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ('[[avatars]]\nkey = "a"\nprompt = "x"\nstyle = "podcst"', 4, "did you mean 'podcast'"),
        ('[[avatars]]\nkey = "a"\nprompt = "x"\nstyle = "cartoon"', 4, "one of iphone, selfie"),
        ('[[avatars]]\nkey = "a"\nprompt = "x"\nresolutoin = "4K"', 4, "did you mean 'resolution'"),
        ('[[avatars]]\nkey = "a"\nimage_urls = ["me.jpg"]', 3, "no local files"),
        ('[[avatars]]\nkey = "a"', 1, "a prompt, image_urls, or avatar_id and look_id"),
        ('[[avatars]]\nkey = "a"\navatar_id = "x"', 1, "an id as the API gave it"),
        ('[[avatars]]\nprompt = "x"', 1, "a key of your own"),
        (ALEX + ALEX, 5, "line 1 has it already"),
        (ALEX + '[[scenes]]\nkey = "s"\nprompt = "x"', 4, r"a table \[matrix\]"),
        (ALEX + '[[looks]]\nkey = "x"\navatar = "alx"\nprompt = "x"', 6, "did you mean 'alex'"),
        ("x = [", 1, "TOML"),
        ("a = 1\nb = \n", 2, "TOML"),
        ("avatars = 3", 1, r"tables that begin with \[\[avatars\]\]"),
        ("# nothing\n", 1, "at least one avatar"),
        ("", 1, "the file is empty"),
        (b"\xff\xfek\x00", 1, "UTF-8"),
        (b'[[avatars]]\nkey = "\xe9"', 2, "UTF-8"),
        (f"x = {'9' * 5000}", 1, "TOML"),
        (f"x = {'[' * 50_000}", 1, "nested"),
    ],
)
def test_each_kind_of_problem(text: str | bytes, line: int, expected: str) -> None:
    """Every problem names its line and what was expected."""
    with pytest.raises(CampaignError, match=expected) as caught:
        parse_campaign(text, "toml")
    assert caught.value.problems[0].line == line
    assert len(caught.value.problems) == 1


def test_numbers_too_long_to_print_are_problems() -> None:
    """A hexadecimal number too long for Python to print is still reported as a problem."""
    assert one_problem(f'[[avatars]]\nkey = "a"\nprompt = 0x{"f" * 20_000}').field == "avatars[1].prompt"


def test_a_variation_with_the_key_of_another_scene_is_a_problem() -> None:
    """Scene ``car-2`` and the second variation of ``car`` would have one key."""
    scenes = '[[scenes]]\nkey = "car"\nprompt = "x"\n[[scenes]]\nkey = "car-2"\nprompt = "y"\n'
    problem = one_problem(ALEX + scenes + "[matrix]\nvariations = 2")
    assert (problem.line, problem.value) == (8, "alex/car-2")


def test_a_huge_matrix_is_refused_before_it_is_expanded() -> None:
    """A matrix with too many looks is refused before any memory is spent on them."""
    scenes = "".join(f'[[scenes]]\nkey = "s{n}"\nprompt = "x"\n' for n in range(300))
    assert one_problem(ALEX + scenes + "[matrix]\nvariations = 1000").field == "matrix"


def test_a_byte_order_mark_is_accepted() -> None:
    """A byte order mark at the start of the file is skipped, as bytes and as text."""
    assert parse_campaign(b"\xef\xbb\xbf" + ALEX.encode(), "toml").items[0].key == "alex"
    assert parse_campaign("\ufeff" + ALEX, "toml").items[0].key == "alex"


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file and an unknown suffix raise errors that say so."""
    with pytest.raises(ConfigurationError, match=r"\.toml, \.csv or \.jsonl"):
        read_campaign(tmp_path / "campaign.yaml")
    with pytest.raises(ConfigurationError, match="No such file"):
        read_campaign(tmp_path / "campaign.toml")


def test_lines_of_keys_and_tables() -> None:
    """Lines are right for tables, keys, dotted keys and nested tables; text in long strings is not a key."""
    lines = TomlPositions(
        'top = 1\n[[a]]\nkey = """\nkey = 2 \'\'\'\n"""\nother = "#"\n\n[a.meta]\nx.y = 1\n'
        "[[a]]\n'quoted' = '''\n[matrix]\n'''\nlast = [\n  1,\n]\n[ matrix ] # here\n"
    )
    assert lines.find("top") == 1
    assert lines.find("a", 0) == 2
    assert lines.find("a", 0, "key") == 3
    assert lines.find("a", 0, "other") == 6
    assert lines.find("a", 0, "meta") == 8
    assert lines.find("a", 0, "meta", "x", "y") == 9
    assert lines.find("a", 1, "quoted") == 11
    assert lines.find("a", 1, "last") == 14
    assert lines.find("a", 1, "missing") == 10
    assert lines.find("matrix") == 17
    assert lines.find("nowhere") == 1


def either(text: str) -> tuple[tuple[BatchItem, ...], tuple[Problem, ...]]:
    """The items of the text, or its problems."""
    try:
        return parse_campaign(text, "toml").items, ()
    except CampaignError as error:
        return (), error.problems


WORDS = st.sampled_from(
    [
        "[[avatars]]",
        "[[scenes]]",
        "[[looks]]",
        "[matrix]",
        "key",
        "prompt",
        "style",
        "avatar",
        "variations",
        "=",
        "\n",
        "'a'",
        '"""',
        "'''",
        '"alex"',
        "3",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        "#",
        "true",
        "images",
    ]
)


@given(st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=40).map(" ".join)))
def test_any_text_is_a_campaign_or_a_campaign_error(text: str) -> None:
    """Any text gives items or a `CampaignError` whose problems have lines of the text."""
    items, found = either(text)
    assert bool(items) != bool(found)
    assert all(1 <= problem.line <= text.count("\n") + 1 for problem in found)


VALUES = st.recursive(
    st.one_of(st.text(max_size=8), st.integers(), st.booleans(), st.floats(), st.none(), st.just("alex")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    [
        "key",
        "prompt",
        "style",
        "format",
        "resolution",
        "images",
        "image_urls",
        "avatar",
        "avatar_id",
        "look_id",
        "upscale",
        "look_name",
        "tags",
        "metadata",
        "extra",
        "webhook_url",
        "name",
        "variations",
        "element_images",
    ]
)


def toml_of(value: object) -> str:
    """A value in TOML; None is left as a word that is no TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_of(str(k))} = {toml_of(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_of, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value if not 0xD800 <= ord(c) < 0xE000) + '"'
    return str(value)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["[[avatars]]", "[[scenes]]", "[[looks]]", "[matrix]"]),
            st.dictionaries(FIELDS, VALUES, max_size=4),
        ),
        max_size=4,
    )
)
def test_any_values_are_a_campaign_or_an_error(tables: list[tuple[str, dict[str, object]]]) -> None:
    """Values of any type in any field give items or problems, and nothing else."""
    text = "".join(
        head + "\n" + "".join(f"{name} = {toml_of(value)}\n" for name, value in values.items())
        for head, values in tables
    )
    items, found = either(text)
    assert bool(items) != bool(found)
