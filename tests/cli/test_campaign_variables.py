"""Variables and the shared prefix in the texts of campaign files."""

from __future__ import annotations

import pytest
from cli_kit import BatchOptions, CampaignError, Problem, parse_campaign
from hypothesis import given
from hypothesis import strategies as st

from hoox_async import ConfigurationError
from hoox_async._cli.batch.plan import choose
from hoox_async._cli.campaign.builder import Campaign
from hoox_async._cli.campaign.variables import parse_settings
from hoox_async._cli.selection import Selection

AVATAR = '[[avatars]]\nkey = "alex"\nprompt = "{prompt}"\n'


def _toml(prompt: str, head: str = "") -> str:
    return head + AVATAR.replace("{prompt}", prompt)


def _prompts(campaign: Campaign) -> dict[str, str]:
    return {item.key: getattr(item.request, "prompt", "") for item in campaign.items}


def _problems(text: str, **settings: str) -> list[Problem]:
    with pytest.raises(CampaignError) as caught:
        parse_campaign(text, "toml", settings=settings)
    return list(caught.value.problems)


def test_a_variable_has_the_value_of_the_file() -> None:
    """``{product}`` in a prompt is replaced by the value that ``[variables]`` gives it."""
    text = _toml("with {product}, {n} times", '[variables]\nproduct = "a lamp"\nn = 3\n')
    assert _prompts(parse_campaign(text, "toml")) == {"alex": "with a lamp, 3 times"}


def test_a_setting_wins_over_the_file() -> None:
    """A setting (``--set``) wins over the file's value, and defines what the file does not."""
    text = _toml("{product} in {city}", '[variables]\nproduct = "a lamp"\n')
    campaign = parse_campaign(text, "toml", settings={"product": "a mug", "city": "Rome"})
    assert _prompts(campaign) == {"alex": "a mug in Rome"}


def test_a_table_has_variables_of_its_own() -> None:
    """Variables of one avatar or scene win over the file's, and don't reach other tables."""
    text = (
        '[variables]\nlight = "warm light"\n'
        '[[avatars]]\nkey = "alex"\nprompt = "{light}"\n'
        '[[scenes]]\nkey = "stage"\nprompt = "{light}"\nvariables = {light = "blue light"}\n'
        '[[scenes]]\nkey = "car"\nprompt = "{light}"\n[matrix]\n'
    )
    assert _prompts(parse_campaign(text, "toml")) == {
        "alex": "warm light", "alex/stage": "blue light", "alex/car": "warm light",
    }  # fmt: skip


def test_an_undefined_variable_is_a_problem_of_its_place() -> None:
    """An undefined variable is reported with line, field and name, and what to do about it."""
    [problem] = _problems(_toml("a {prodct}", '[variables]\nproduct = "x"\n'))
    assert (problem.line, problem.field, problem.value) == (5, "avatars[1].prompt", "{prodct}")
    assert "did you mean 'product'" in problem.expected
    assert "--set prodct=VALUE" in problem.expected


def test_a_variable_is_an_error_without_any_definition() -> None:
    """A file that defines no variables at all does not send ``{product}`` to the API as it is."""
    [problem] = _problems(_toml("a {product}"))
    assert problem.value == "{product}"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("a sign: {{product}}", "a sign: {product}"),
        ("{ } and { x } and {1}", "{ } and { x } and {1}"),
        ("{a: 1}", "{a: 1}"),
        ("}{", "}{"),
        ("{{{product}}}", "{{product}}"),
    ],
)
def test_literal_braces(written: str, sent: str) -> None:
    """``{{name}}`` is the text ``{name}``; braces without a name between them stay as they are."""
    assert _prompts(parse_campaign(_toml(written), "toml")) == {"alex": sent}


@given(st.text(st.sampled_from("ab {}:\u00e9,."), min_size=1).filter(lambda text: text.strip()))
def test_texts_without_a_name_in_braces_are_unchanged(text: str) -> None:
    """A prompt that has no name in braces is sent exactly as it is written."""
    import re

    if re.search(r"\{[^\W\d][\w-]*\}", text):
        return
    assert _prompts(parse_campaign(_toml(text), "toml")) == {"alex": text}


@pytest.mark.parametrize("written", ["{ product }", "{product }", "{{ product }}"])
def test_spaces_between_the_braces_are_reported(written: str) -> None:
    """A defined variable that is written with spaces is reported, and not sent to the API as it is."""
    [problem] = _problems(_toml(f"a {written}"), product="lamp")
    assert problem.expected == "{product}, without spaces between the braces"


def test_a_value_is_not_filled_in_again() -> None:
    """A value that looks like a variable is a text: only the file's own texts have variables."""
    assert _prompts(parse_campaign(_toml("{a}"), "toml", settings={"a": "{b}"})) == {"alex": "{b}"}


def test_the_prefix_stands_before_every_prompt() -> None:
    """``prompt_prefix`` stands before all prompts, with its variables; a table can have another or none."""
    text = (
        'prompt_prefix = "Photo for {brand}. "\n[variables]\nbrand = "Lumen"\n'
        '[[avatars]]\nkey = "alex"\nprompt = "Alex"\nprompt_prefix = ""\n'
        '[[scenes]]\nkey = "car"\nprompt = "in a car"\n'
        '[[scenes]]\nkey = "rain"\nprompt = "in the rain"\nprompt_prefix = "Film still:"\n[matrix]\n'
    )
    assert _prompts(parse_campaign(text, "toml")) == {
        "alex": "Alex",
        "alex/car": "Photo for Lumen. in a car",
        "alex/rain": "Film still: in the rain",
    }


def test_wrong_tables_are_reported() -> None:
    """A prefix, a value or a name of another kind is reported, and a prefix in the matrix is unknown."""
    head = 'prompt_prefix = 3\n[variables]\n"a b" = "x"\nlist = ["x"]\n'
    fields = [problem.field for problem in _problems(_toml("x", head))]
    assert sorted(fields) == ["prompt_prefix", "variables.a b", "variables.list"]
    below = '[variables]\na = "x"\nprompt_prefix = "x"\n'
    assert [problem.field for problem in _problems(_toml("{a}", below))] == ["variables.prompt_prefix"]
    matrix = _toml("x") + '[[scenes]]\nkey = "s"\nprompt = "x"\n[matrix]\nprompt_prefix = "x"\n'
    assert [problem.field for problem in _problems(matrix)] == ["matrix.prompt_prefix"]


def test_rows_have_variables_too() -> None:
    """CSV has a column for each variable and for the prefix, JSON lines have the same names as TOML."""
    csv = "key,prompt,prompt_prefix,variables.product\nalex,with {product},Photo.,a lamp\n"
    line = (
        '{"key": "alex", "prompt": "with {product}", "prompt_prefix": "Photo.",'
        ' "variables": {"product": "a lamp"}}'
    )
    for text, kind in ((csv, "csv"), (line, "jsonl")):
        campaign = parse_campaign(text, kind)  # type: ignore[arg-type]
        assert _prompts(campaign) == {"alex": "Photo. with a lamp"}
        campaign = parse_campaign(text, kind, settings={"product": "a mug"})  # type: ignore[arg-type]
        assert _prompts(campaign) == {"alex": "Photo. with a mug"}


def test_urls_have_variables_too() -> None:
    """Names, places and image URLs have variables as prompts do."""
    text = '[[avatars]]\nkey = "a"\nimage_urls = ["https://x.test/{who}.jpg"]\nname = "{who}"\n'
    [item] = parse_campaign(text, "toml", settings={"who": "ada"}).items
    assert (getattr(item.request, "image_urls", None), getattr(item.request, "name", None)) == (
        ("https://x.test/ada.jpg",),
        "ada",
    )


@pytest.mark.parametrize(
    ("prompt", "notes"),
    [("with {product}", ()), ("with {product name}", ("1 prompt has a brace, sent as it stands: a",))],
)
def test_a_brace_that_is_no_variable_is_noted_before_it_is_paid_for(
    prompt: str, notes: tuple[str, ...]
) -> None:
    """The plan of a run names the prompts in which a brace is left after the variables were filled in."""
    campaign = parse_campaign(f"key,prompt,variables.product\na,{prompt},lamp\n", "csv")
    assert choose(campaign, {}, Selection(), BatchOptions()).notes == notes


def test_a_setting_that_no_text_has_is_refused() -> None:
    """A setting for a variable that no text has is an error, since its name is probably mistyped."""
    with pytest.raises(ConfigurationError, match=r"--set prodct.*did you mean 'product'"):
        parse_campaign(_toml("{product}"), "toml", settings={"product": "x", "prodct": "y"})


@pytest.mark.parametrize("given", [["product"], ["=x"], ["a b=x"], ["a=1", "a=2"]])
def test_settings_have_the_form_name_value(given: list[str]) -> None:
    """A setting without a name or an equals sign, and one that is given twice, is refused."""
    with pytest.raises(ConfigurationError, match="--set"):
        parse_settings(tuple(given))
    assert parse_settings(("a=b=c", "d=")) == {"a": "b=c", "d": ""}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('# mine\n\n[[avatars]]\nkey = "t"\nprompt = "x"\n', "t"),
        ('prompt_prefix = "y"\n[[avatars]]\nkey = "t"\nprompt = "x"\n', "t"),
        ('\n{"key": "j", "prompt": "x"}\n', "j"),
        ("key,prompt\nc,x\n", "c"),
        ("key;prompt\nc;x = y\n", "c"),
    ],
)
def test_the_format_is_known_by_the_first_line(text: str, key: str) -> None:
    """Without a file name the first line that says something tells TOML, JSON lines and CSV apart."""
    assert [item.key for item in parse_campaign(text, None).items] == [key]


def test_latin_1_is_explained() -> None:
    """A file in Latin-1 is refused with the line, the word that shows it, and how to save it as UTF-8."""
    with pytest.raises(CampaignError) as caught:
        parse_campaign("key,prompt\nalex,au caf\u00e9 du coin\n".encode("latin-1"), "csv", name="c.csv")
    [problem] = caught.value.problems
    assert (problem.line, problem.field, problem.value) == (2, "encoding", "caf\u00e9")
    assert "CSV UTF-8" in problem.expected
    assert "Latin-1" in problem.expected
