"""The contact sheet: its page and its pictures, without a browser."""

from __future__ import annotations

import asyncio
import builtins
import errno
import re
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from internals_kit import Fetched
from PIL import Image
from report_kit import NOON, Pictures, dropped, every_state, jpeg, ready

from hoox_async import BatchReport, ImageAvatar, Look, LookEdit, LookRef, LookStatus, Outcome, OutcomeState
from hoox_async._report.look_cards import sections, shared_beginnings
from hoox_async._report.page_pictures import SheetPicture, file_stem
from hoox_async._report.pages import render
from hoox_async.errors import ConfigurationError


class Page(HTMLParser):
    """The elements of a page, and their text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.text += data

    def every(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of this kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def outcomes() -> list[Outcome]:
    """Ten outcomes, every state among them."""
    return every_state()


@pytest.fixture
def pictures() -> Pictures:
    """A fake source of pictures."""
    return Pictures()


async def test_page_shows_every_look_and_its_picture(
    outcomes: list[Outcome], pictures: Pictures, tmp_path: Path
) -> None:
    """Each ready look has a local picture and a thumbnail; every other look says why it has none."""
    report = BatchReport(outcomes)
    path = await report.write_contact_sheet(tmp_path / "sheet", title="Summer", fetch=pictures.fetch)
    page = Page(path.read_text("utf-8"))
    assert path == tmp_path / "sheet" / "index.html"
    images = [image["src"] for image in page.every("img") if image.get("src")]
    assert len(images) == 3
    for image in images:
        assert image is not None
        with Image.open(path.parent / image) as opened:
            assert opened.size in ((90, 160), (160, 90))
    for shot in (a for a in page.every("a") if a.get("class") == "shot"):
        assert (path.parent / str(shot["href"])).is_file()
    for said in (
        "No face found [NO_FACE]", "The image is gone", "The picture's host did not answer",
        "The connection broke", "May be avtr_1:look_8 or avtr_1:look_9", "Young entrepreneur", "acme",
    ):  # fmt: skip
        assert said in page.text
    assert "me.test/secret" not in path.read_text("utf-8")


def test_prompts_are_written_in_the_direction_of_their_script() -> None:
    """The texts that users write have dir="auto", so that a browser sets Arabic or Hebrew from the right."""
    outcome = ready("alex/cafe", prompt="امرأة شابة في مقهى")
    page = Page(render(BatchReport([outcome]), [SheetPicture()], title="حملة", made_at=NOON))
    automatic = {a.get("class") or a.get("id") for _, a in page.elements if a.get("dir") == "auto"}
    assert {"prompt find", "reason find", "find", "viewer-title", "text"} <= {str(name) for name in automatic}
    assert page.every("h1")[0]["dir"] == "auto"


async def test_existing_pictures_are_not_fetched_again(
    outcomes: list[Outcome], pictures: Pictures, tmp_path: Path
) -> None:
    """When the page is written again, only the picture that failed the first time is fetched."""
    report = BatchReport(outcomes)
    await report.write_contact_sheet(tmp_path, fetch=pictures.fetch)
    assert len(pictures.asked) == 4
    pictures.asked.clear()
    await report.write_contact_sheet(tmp_path, fetch=pictures.fetch)
    assert pictures.asked == ["https://pictures.test/mara-gone.jpg"]


async def test_a_look_paid_for_again_has_another_picture(pictures: Pictures, tmp_path: Path) -> None:
    """The name of a picture's file depends on the look's ref as well as on the key."""
    await BatchReport([ready("a", look="look_1")]).write_contact_sheet(tmp_path, fetch=pictures.fetch)
    await BatchReport([ready("a", look="look_2")]).write_contact_sheet(tmp_path, fetch=pictures.fetch)
    assert len(pictures.asked) == 2
    assert len(list((tmp_path / "pictures").iterdir())) == 2


async def test_given_pictures_are_copied(pictures: Pictures, tmp_path: Path) -> None:
    """Files given by key are used instead of the network; one that is missing gets a placeholder."""
    file = tmp_path / "mine.jpg"
    file.write_bytes(jpeg())
    report = BatchReport([ready("a"), ready("b")])
    given_files = {"a": file, "b": tmp_path / "lost.jpg"}
    path = await report.write_contact_sheet(tmp_path / "sheet", pictures=given_files, fetch=pictures.fetch)
    assert pictures.asked == []
    assert len(list((tmp_path / "sheet" / "pictures").iterdir())) == 1
    assert "The file lost.jpg does not exist" in path.read_text("utf-8")


async def test_nothing_is_fetched_without_download(
    outcomes: list[Outcome], pictures: Pictures, tmp_path: Path
) -> None:
    """With ``download=False`` nothing is fetched, and the page has placeholders."""
    path = await BatchReport(outcomes).write_contact_sheet(tmp_path, fetch=pictures.fetch, download=False)
    assert pictures.asked == []
    assert "The picture was not downloaded" in path.read_text("utf-8")


async def test_what_is_no_picture_gets_a_placeholder(pictures: Pictures, tmp_path: Path) -> None:
    """A file that Pillow cannot read and a look without a URL each get a placeholder on the page."""
    bare = ready("b")
    assert bare.look is not None
    bare = attrs.evolve(bare, look=attrs.evolve(bare.look, thumbnail_url=None))
    report = BatchReport([ready("a", url="https://pictures.test/text"), bare, ready("c")])
    html = (await report.write_contact_sheet(tmp_path, fetch=pictures.fetch)).read_text("utf-8")
    assert "The downloaded file is not a picture that can be read" in html
    assert "The API gave no picture for this look" in html
    assert len([image for image in Page(html).every("img") if image.get("src")]) == 1


def test_a_card_shows_what_no_other_prompt_begins_with() -> None:
    """A long beginning that three prompts have, such as a campaign's prefix, is left out on their cards."""
    prefix = "Spring campaign, natural light from a large window, muted colours. "
    rest = ["Podcast studio, warm light", "On a small stage", "Rainy street at night, neon"]
    assert shared_beginnings({*(prefix + text for text in rest), "In a car, evening"}) == {
        **{prefix + text: prefix for text in rest},
        "In a car, evening": "",
    }
    assert shared_beginnings({prefix + text for text in rest[:2]}) == {prefix + text: "" for text in rest[:2]}


async def test_a_damaged_picture_is_fetched_again(pictures: Pictures, tmp_path: Path) -> None:
    """Whatever Pillow raises for a picture, it gets a placeholder, and the next writing fetches it again.

    So it is for one whose data is cut off, and for a PNG whose chunks have wrong lengths or contents.
    """
    png = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0dIHDR" + b"\0\0\0\x10" * 2 + b"\x08\x02\0\0\0"
    damaged = {"cut": jpeg(900, 1600)[:-900], "short": png, "zlib": png + bytes(4) + b"\0\0\0\x04IDATxxxx"}
    report = BatchReport([ready(key) for key in (*damaged, "whole")])
    pictures.damaged = {f"https://pictures.test/{key}.jpg": data for key, data in damaged.items()}
    html = (await report.write_contact_sheet(tmp_path, fetch=pictures.fetch)).read_text("utf-8")
    assert html.count("The downloaded file is not a picture that can be read") == len(damaged)
    pictures.damaged, pictures.asked = {}, []
    html = (await report.write_contact_sheet(tmp_path, fetch=pictures.fetch)).read_text("utf-8")
    assert len(pictures.asked) == len(damaged)
    assert len([image for image in Page(html).every("img") if image.get("src")]) == 4


async def test_a_key_that_stands_twice_has_one_picture(tmp_path: Path) -> None:
    """An outcome that a report has many times is fetched once, and all its cards show the picture."""
    slow = Pictures()

    @asynccontextmanager
    async def fetch(url: str) -> AsyncIterator[Fetched]:
        async with slow.fetch(url) as fetched:
            await asyncio.sleep(0)
            yield fetched

    html = (await BatchReport([ready("a")] * 9).write_contact_sheet(tmp_path, fetch=fetch)).read_text("utf-8")
    assert len(slow.asked) == 1
    assert len([image for image in Page(html).every("img") if image.get("src")]) == 9


async def test_pictures_with_fewer_pixels_than_was_paid_for_are_shown_and_counted(tmp_path: Path) -> None:
    """The page measures the files: a small one has its size beside it, and the totals count them.

    One of full size has its size in the details alone.
    """
    four, two, own = (
        ready("kim/four", request=LookEdit(LookRef("avtr_1", "look_0"), "a", resolution="4K")),
        ready("kim/two"),
        ready("kim/own", request=ImageAvatar(["https://pictures.test/own.jpg"])),
    )
    files = {}
    for outcome, size in ((four, (1152, 2048)), (two, (1152, 2048)), (own, (540, 960))):
        files[outcome.key] = tmp_path / f"{outcome.key.replace('/', '-')}.jpg"
        files[outcome.key].write_bytes(jpeg(*size))
    page = await BatchReport([four, two, own]).write_contact_sheet(
        tmp_path / "sheet", pictures=files, download=False
    )
    text = Page(page.read_text("utf-8")).text
    large, small = "1152 \N{MULTIPLICATION SIGN} 2048", "540 \N{MULTIPLICATION SIGN} 960"
    assert text.count(f"{large} pixels, fewer than was paid for") == 1
    assert (text.count(large), text.count(small)) == (3, 1)
    assert re.search(r"Pictures smaller than paid for\s*1\s", text)


async def test_thumbnails_are_small(tmp_path: Path) -> None:
    """The page shows a thumbnail of a large picture and links to the whole one."""
    large = tmp_path / "large.png"
    Image.new("RGBA", (2160, 3840), "navy").save(large)
    await BatchReport([ready("a")]).write_contact_sheet(tmp_path / "s", pictures={"a": large}, download=False)
    [small], [whole] = (list((tmp_path / "s" / name).iterdir()) for name in ("small", "pictures"))
    with Image.open(small) as image:
        assert image.size == (405, 720)
    assert whole.suffix == ".png"
    assert whole.read_bytes() == large.read_bytes()


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "../../x",
    "{{ 7*7 }}",
    "</style></script><b>",
    "javascript:alert(1)",
    "con",
    "\u202eabc\x00",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_stays_text(text: str, pictures: Pictures, tmp_path: Path) -> None:
    """Whatever prompt, key and id say, the page has the same elements and no file leaves the folder."""
    folder = tmp_path / "deep" / "sheet"
    plain = await BatchReport([ready("a/b")]).write_contact_sheet(folder, fetch=pictures.fetch)
    wanted = [tag for tag, _ in Page(plain.read_text("utf-8")).elements]
    hostile = ready("a/" + text, prompt=text, avatar=text, look="l")
    html = await BatchReport([hostile]).write_contact_sheet(folder, fetch=pictures.fetch, title=text)
    page = Page(html.read_text("utf-8"))
    # an avatar whose id is the section's name as well is shown once
    assert [tag for tag, _ in page.elements if tag != "code"] == [tag for tag in wanted if tag != "code"]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert {file.name for file in (tmp_path / "deep").iterdir()} == {"sheet"}
    assert {file.name for file in folder.iterdir()} == {"index.html", "pictures", "small"}


@settings(max_examples=settings.get_profile("suite").max_examples // 2)
@given(st.text(max_size=80), st.text(max_size=40))
def test_any_text_gives_a_page(prompt: str, key: str) -> None:
    """Any prompt and key can be rendered, and only the page's own script is there."""
    request = LookEdit("alex", prompt if prompt.strip() else "x")
    outcome = Outcome(key, request, OutcomeState.UNSENT)
    html = render(BatchReport([outcome]), [SheetPicture()], title=key, made_at=NOON)
    assert html.count("<script>") == 1
    assert len(Page(html).every("li")) == 1


def test_page_loads_nothing_from_elsewhere(outcomes: list[Outcome]) -> None:
    """The Content-Security-Policy forbids other sources, and no element refers to one."""
    html = render(BatchReport(outcomes), [SheetPicture()] * len(outcomes), title="t", made_at=NOON)
    page = Page(html)
    policy = next(m["content"] for m in page.every("meta") if m.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not page.every("link")
    assert not [s for s in page.every("script") if "src" in s]
    assert not re.search(r"https?://", re.sub(r"<dl.*?</dl>", "", html, flags=re.DOTALL))


def test_empty_batch_has_a_page() -> None:
    """The page of a batch without items says that there are no looks yet."""
    assert "This batch has no looks yet" in render(BatchReport([]), [], title="t", made_at=NOON)


def test_sections_are_avatars_in_order(outcomes: list[Outcome]) -> None:
    """Looks are grouped by avatar, even if the avatar is known only through their source's key."""
    first, second = sections(outcomes, [SheetPicture()] * len(outcomes))
    assert (first.name, first.avatar_id, first.total, first.ready) == ("Alex", "avtr_1", 8, 2)
    assert (second.name, second.avatar_id, second.total, second.ready) == ("mara", "avtr_2", 2, 2)
    assert [card.title for card in first.tall][:3] == ["Avatar", "podcast", "failed"]


def test_section_of_an_avatar_not_made_here_takes_its_name_from_the_keys() -> None:
    """An avatar of which only the id is known is named after its looks' keys, such as ``kim/car``."""
    [section] = sections([ready("kim/car"), ready("kim/desk")], [SheetPicture()] * 2)
    assert section.name == "kim"
    [section] = sections([ready("kim/car"), ready("tom/desk")], [SheetPicture()] * 2)
    assert section.name == "avtr_1"


def test_edits_of_one_public_avatar_are_one_section() -> None:
    """The API copies the avatar each time; edits of a copy belong to it too, and the section has its name."""
    ada = LookRef("avtr_ada", "look_0")
    copies = [LookRef(f"avtr_copy_{n}", f"look_{n}") for n in range(3)]
    sources: list[LookRef | str] = [ada, ada, copies[0]]
    made = [
        Outcome(f"ada/{n}", LookEdit(source, "x"), OutcomeState.READY, Look(copies[n], LookStatus.READY))
        for n, source in enumerate(sources)
    ]
    by_key = Outcome("ada/by key", LookEdit("ada/1", "x"), OutcomeState.UNSENT)
    [section] = sections([*made, by_key], [SheetPicture()] * 4)
    assert (section.name, section.avatar_id, section.total) == ("ada", "avtr_ada", 4)


def test_a_circle_of_sources_ends() -> None:
    """A circle of sources, which no batch can send, still has a section."""
    circle = [Outcome(key, LookEdit(other, "x"), OutcomeState.UNSENT) for key, other in ("ab", "ba")]
    assert sum(section.total for section in sections(circle, [SheetPicture()] * 2)) == 2


def test_shape_comes_from_the_picture_else_from_the_format() -> None:
    """A picture's own shape wins over the format that was asked for."""
    wide = attrs.evolve(ready("b"), request=LookEdit("x", "y", format="horizontal"))
    [section] = sections(
        [ready("a"), wide, wide],
        [SheetPicture("p", "s", 160, 90), SheetPicture(), SheetPicture("p", "s", 90, 160)],
    )
    assert [card.wide for card in (*section.tall, *section.wide)] == [False, True, True]
    assert [card.number for card in section.wide] == [1, 2]


def test_a_dropped_unknown_says_that_it_may_have_been_charged() -> None:
    """The card of a dropped unknown says that it may have been charged and how much is at risk."""
    (section,) = sections([dropped()], [SheetPicture()])
    (card,) = section.tall
    assert card.reason == "The connection broke; you dropped it, it may have been charged"
    assert "4 cr at risk" in card.note


def test_failure_shows_how_long_it_took() -> None:
    """The card of a failed look shows how long it took to fail."""
    look = Look(LookRef("a", "l"), LookStatus.FAILED)
    outcome = attrs.evolve(
        ready("k"), state=OutcomeState.FAILED, look=look, settled_at=NOON + timedelta(seconds=75)
    )
    [section] = sections([outcome], [SheetPicture()])
    assert section.tall[0].note == "podcast · 1 min 15 s · 2 cr"


@pytest.mark.parametrize(("module", "name"), [("jinja2", "Jinja2"), ("PIL", "Pillow")])
async def test_missing_extra_says_what_to_install(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without Pillow or Jinja2 the error names the extra ``report``."""
    real: Callable[..., Any] = builtins.__import__

    def without(wanted: str, *args: Any, **kwargs: Any) -> Any:
        if wanted == module:
            raise ImportError(wanted)
        return real(wanted, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ConfigurationError, match=rf'{name}: in your clone of hoox-async, pip install -e "\.\[report\]"'
    ):
        await BatchReport([]).write_contact_sheet(tmp_path)


async def test_a_folder_that_cannot_be_written_raises_oserror(pictures: Pictures, tmp_path: Path) -> None:
    """A file in the place of the folder raises `OSError`, not an exception group."""
    (tmp_path / "sheet").write_text("a file")
    with pytest.raises(OSError, match="sheet"):
        await BatchReport([ready("a")]).write_contact_sheet(tmp_path / "sheet", download=False)


async def test_a_full_disk_is_told_with_the_file(pictures: Pictures, tmp_path: Path) -> None:
    """The error of a full disk, which names no file by itself, names the one that could not be written."""
    report = BatchReport([ready("a")])
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(OSError, match=r"pictures/\..*part") as pictured:
            await report.write_contact_sheet(tmp_path, fetch=pictures.fetch)
        with pytest.raises(OSError, match=r"looks\.jsonl") as listed:
            await report.to_jsonl(tmp_path / "looks.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert {pictured.value.errno, listed.value.errno} == {errno.EFBIG}


async def test_pictures_come_over_http_by_default(tmp_path: Path) -> None:
    """Without ``fetch`` pictures are fetched from their URLs; a missing picture gets a placeholder."""
    app = web.Application()

    async def picture(request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        return web.Response(body=jpeg(), content_type="image/png")

    app.router.add_get("/a", picture)
    async with TestServer(app) as server:
        report = BatchReport([ready(key, url=str(server.make_url(f"/{key}"))) for key in "ab"])
        html = (await report.write_contact_sheet(tmp_path)).read_text("utf-8")
    [file] = (tmp_path / "pictures").iterdir()
    assert file.suffix == ".png"
    assert "HTTP 404" in html


@given(st.text(max_size=200), st.text(max_size=20), st.text(max_size=200), st.text(max_size=20))
def test_stems_differ_where_items_differ(key: str, ref: str, other_key: str, other_ref: str) -> None:
    """Two items never share a file name, even on a file system that ignores case."""
    stem = file_stem(key, ref)
    assert stem == stem.lower()
    assert stem.replace("-", "").isalnum()
    assert stem.isascii()
    assert len(stem) <= 61
    assert (file_stem(other_key, other_ref) == stem) == ((other_key, other_ref) == (key, ref))
