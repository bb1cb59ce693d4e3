"""Campaign files in CSV and JSONL."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from cli_kit import CampaignError, parse_campaign
from hypothesis import given
from hypothesis import strategies as st

from hoox_async import BatchItem, ImageAvatar, LookEdit, LookRef, PromptAvatar, Style

Kind = Literal["csv", "jsonl"]


def problems(text: str, kind: Kind) -> list[tuple[int, str]]:
    """The lines and fields of all that is wrong."""
    with pytest.raises(CampaignError) as caught:
        parse_campaign(text, kind)
    return [(problem.line, problem.field) for problem in caught.value.problems]


def test_csv_row_is_an_avatar_or_a_look() -> None:
    """A row with a source is a look and one without is an avatar; empty cells and rows are ignored."""
    text = (
        "key,avatar,prompt,style,image_urls,upscale,images,metadata.client\r\n"
        'alex,,"Young entrepreneur,\r\nsmiling",selfie,,,,acme\r\n'
        "\r\n"
        "sam,,,,https://me.test/1.jpg https://me.test/2.jpg,,,\r\n"
        "alex/rain,alex,rain,,,yes,https://me.test/logo.png,\r\n"
        "x/rain,avtr_1:look_2,rain,raw\r\n"
    )
    campaign = parse_campaign(text, "csv")
    assert {item.key: item.request for item in campaign.items} == {
        "alex": PromptAvatar("Young entrepreneur,\r\nsmiling", style="selfie", metadata={"client": "acme"}),
        "sam": ImageAvatar(["https://me.test/1.jpg", "https://me.test/2.jpg"]),
        "alex/rain": LookEdit("alex", "rain", upscale=True, images=["https://me.test/logo.png"]),
        "x/rain": LookEdit(LookRef("avtr_1", "look_2"), "rain", style=Style.RAW),
    }
    assert campaign.origins["alex/rain"].line == 6
    assert campaign.origins["x/rain"][:3] == ("x", "rain", 1)


@pytest.mark.parametrize("mark", [";", "\t"])
def test_csv_with_other_delimiters(mark: str) -> None:
    """CSV with semicolons or tabs between the cells is read as well."""
    text = "key,avatar_id,look_id,prompt\na/b-3,av,lo,x".replace(",", mark)
    campaign = parse_campaign(b"\xef\xbb\xbf" + text.encode(), "csv")
    assert campaign.items[0].request == LookEdit(LookRef("av", "lo"), "x")
    assert campaign.origins["a/b-3"][:3] == ("a", "b", 3)


def test_tags_of_a_cell_have_commas_between_them() -> None:
    """A tag may have spaces; names, places and tags are those of the look, and may hold variables."""
    text = (
        "key,avatar,prompt,look_name,place,tags,variables.product\n"
        'x,a:b,p,{product} 1,sea,"{product}, big sale",lamp\n'
    )
    [item] = parse_campaign(text, "csv").items
    assert item.request == LookEdit(
        LookRef("a", "b"), "p", look_name="lamp 1", place="sea", tags=["lamp", "big sale"]
    )


def test_csv_header_may_have_capital_letters() -> None:
    """A header of a spreadsheet, such as "Prompt", names the same fields; names of the user stay."""
    campaign = parse_campaign("KEY,Prompt,Metadata.Client\na,x,Ada\n", "csv")
    [item] = campaign.items
    assert item == BatchItem("a", PromptAvatar("x", metadata={"Client": "Ada"}))


def test_csv_urls_have_spaces_between_them() -> None:
    """Commas and semicolons beside the spaces are none of a URL; two without a space are refused."""
    urls = '"https://i.test/1.jpg, https://i.test/2,5.jpg;  https://i.test/3.jpg;"'
    campaign = parse_campaign(f"key,image_urls\na,{urls}\n", "csv")
    expected = [f"https://i.test/{name}.jpg" for name in ("1", "2,5", "3")]
    assert campaign.items[0].request == ImageAvatar(expected)
    assert problems("key,image_urls\na,https://i.test/1.jpg;https://i.test/2.jpg\n", "csv") == [
        (2, "image_urls")
    ]


def test_csv_with_an_open_quotation_mark_names_the_row_where_it_begins() -> None:
    """A cell that does not end is reported at its beginning, not at the end of the file."""
    assert problems('key,prompt\na,x\nb,"y\nc,z\nd,z\n', "csv") == [(3, "syntax")]


def test_only_the_first_of_many_problems_are_shown() -> None:
    """A message has the first 20 problems and says how many more there are; ``problems`` has all."""
    with pytest.raises(CampaignError) as caught:
        parse_campaign("key,prompt\n" + "".join(f"a{n},\n" for n in range(1500)), "csv")
    lines = str(caught.value).splitlines()
    assert len(caught.value.problems) == 1500
    assert len(lines) == 22
    assert "1,500 problems" in lines[0]
    assert lines[-1] == "  and 1,480 more"


def test_csv_problems_have_their_lines() -> None:
    """Problems have the line numbers of the file, also after a cell of many lines."""
    text = (
        "key,avatar,prompt,styl\n"  # 1
        'a,,"two\nlines",\n'  # 2, 3
        "a/x,b,x,y\n"  # 4
        "a/y,a,,\n"  # 5
        "a/z,a,x,y,too,many\n"  # 6
        "a,,again,\n"  # 7
    )
    assert problems(text, "csv") == [
        (1, "styl"), (4, "avatar"), (5, "prompt"), (6, "row"), (7, "key")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key,prompt\n", "at least one row"),
        ("key,key,prompt\na,b,c\n", "each column once"),
        ('key,prompt\na,"x', "a second quotation mark"),
        ('key,prompt\na,"x"y\n', "CSV"),
        ("key,prompt,style\na,x,podcst\n", "did you mean 'podcast'"),
        ("key,avatar,prompt,upscale\na,b:c,x,maybe\n", "true or false"),
        ("key,avatar,avatar_id,look_id,prompt\na,b:c,d,e,x\n", "either avatar, or avatar_id"),
        ("   \n", "the file is empty"),
    ],
)
def test_csv_problems_say_what_is_expected(text: str, expected: str) -> None:
    """Each problem of a CSV file says what was expected."""
    with pytest.raises(CampaignError, match=expected) as caught:
        parse_campaign(text, "csv")
    assert len(caught.value.problems) == 1


def test_jsonl_has_an_object_in_each_line() -> None:
    """JSONL has one object in each line; null means "not given", and values have their JSON types."""
    rows = [
        {"key": "alex", "prompt": "Young", "style": None, "metadata": {"id": "7"}, "extra": {"seed": 3}},
        {
            "key": "alex/rain",
            "avatar": "alex",
            "prompt": "rain",
            "upscale": True,
            "images": ["https://x.test/"],
        },
    ]
    campaign = parse_campaign("\n".join(json.dumps(row) for row in rows) + "\n\n", "jsonl")
    assert [item.request for item in campaign.items] == [
        PromptAvatar("Young", metadata={"id": "7"}, extra={"seed": 3}),
        LookEdit("alex", "rain", upscale=True, images=["https://x.test/"]),
    ]


def test_jsonl_problems_have_their_lines() -> None:
    """A line that is not JSON doesn't hide the problems of other lines."""
    text = "\n".join(
        [
            '{"key": "a", "promt": "x"}',
            '{"key": "b", "avatr": "a", "prompt": "y"}',
            "[1]",
            '{"a": 1, "a": 2}',
            "{bad",
            '{"key": "z", "prompt": "x", "avatar": "nobody"}',
            '{"key": "y", "prompt": NaN}',
            '{"key": "x", "prompt": "x", "avatar": 5}',
            "[" * 100_000,
        ]
    )
    assert problems(text, "jsonl") == [
        (1, "promt"), (1, "row"), (2, "avatr"), (3, "row"), (4, "syntax"), (5, "syntax"),
        (6, "avatar"), (7, "syntax"), (8, "avatar"), (9, "syntax"),
    ]  # fmt: skip


def test_source_must_be_in_an_earlier_row() -> None:
    """The source of a look must be an avatar or a look of an earlier row."""
    good = "key,avatar,prompt\na,,x\na/b,a,x\na/c,a/b,x\n"
    assert len(parse_campaign(good, "csv").items) == 3
    assert problems("key,avatar,prompt\na/b,a,x\na,,x\n", "csv") == [(2, "avatar")]


def either(text: str, kind: Kind) -> bool:
    """Whether the text is a campaign with items; else it must have problems."""
    try:
        return bool(parse_campaign(text, kind).items)
    except CampaignError as error:
        return bool(error.problems)


@given(st.sampled_from(["csv", "jsonl"]), st.text(max_size=200))
def test_any_text_is_a_campaign_or_a_campaign_error(kind: Kind, text: str) -> None:
    """Any text gives a campaign or a `CampaignError`, in both formats."""
    assert either(text, kind)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(
                ["key", "avatar", "prompt", "images", "image_urls", "style", "metadata", "extra"]
            ),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("a"),
                lambda inner: (
                    st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
                ),
                max_leaves=4,
            ),
            max_size=5,
        ),
        max_size=4,
    )
)
def test_any_values_are_a_campaign_or_a_campaign_error(rows: list[dict[str, object]]) -> None:
    """Values of any type in any field of JSONL give a campaign or a `CampaignError`."""
    assert either("\n".join(json.dumps(row) for row in rows), "jsonl")


@given(
    st.lists(st.lists(st.sampled_from(["a", "a/b", "x:y", "", "yes", "https://x.test", "raw"]), max_size=6))
)
def test_any_cells_are_a_campaign_or_a_campaign_error(rows: list[list[str]]) -> None:
    """Cells of any number and content give a campaign or a `CampaignError`."""
    text = "key,avatar,prompt,upscale,images\n" + "\n".join(",".join(row) for row in rows)
    assert either(text, "csv")


def test_a_look_without_a_source_is_reported() -> None:
    """For a row with a look's key and no source, the missing source is reported, not the key."""
    with pytest.raises(CampaignError) as caught:
        parse_campaign("key,source,prompt\nalex,,a man\nalex/car,alex,in a car\nalex/car,alex,x\n", "csv")
    header, car, twice, _ = (str(problem) for problem in caught.value.problems)
    assert header == "line 1: source; expected a known field (did you mean 'avatar'?)"
    assert car.startswith("line 3: avatar; expected what alex/car is made from")
    assert "line 3 has it already" in twice


def test_a_webhook_url_that_is_not_usable_is_not_shown() -> None:
    """Its last part may be a secret: neither the message nor the problem holds the value."""
    secret = "example.com/hooks/MARKED"
    with pytest.raises(CampaignError) as caught:
        parse_campaign(f"key,prompt,webhook_url\na,x,{secret}\n", "csv")
    [problem] = caught.value.problems
    assert (problem.line, problem.field) == (2, "webhook_url")
    assert "webhook_url: the value, which is not shown, is not usable; expected an http(s)" in str(problem)
    assert "MARKED" not in repr(caught.value) + str(caught.value) + repr(problem)
