"""Look Studio over HTTP, with real deliveries: what it promises its customers."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from studio_kit import (
    ADA,
    SECRET,
    Feed,
    Journal,
    Order,
    PersistentSandbox,
    Settings,
    Wish,
    serving,
    settings_for,
    studio,
    unused_port,
)

from hoox_async import ConfigurationError, LookRef
from hoox_async.sandbox import DeliveryOptions, Fault, Sandbox


def paid(sandbox: Sandbox) -> int:
    return len(sandbox.ledger)


def asked(sandbox: Sandbox) -> list[str]:
    """The requests for the state of looks."""
    return [request.endpoint for request in sandbox.requests if request.endpoint in ("status", "avatar")]


async def test_an_order_is_answered_at_once_and_settled_by_webhook(tmp_path: Path) -> None:
    """An order is answered 202 before its look is made, and settled by its webhook without polling."""
    async with studio(tmp_path) as (app, sandbox):
        sandbox.hold()
        answer = await app.start("podcast studio, warm light", style="podcast", resolution="4K")
        assert answer.status_code == 202
        assert answer.json()["cards"][0]["state"] == "waiting"
        shown = await app.until("making")
        assert shown["credits"] == {"left": "96", "cap": "100"}
        card = shown["cards"][0]
        assert (await app.client.get(f"/pictures/{card['id']}")).status_code == 404
        sandbox.settle(card["ref"], "ready")
        card = (await app.until("ready"))["cards"][0]
        picture = await app.client.get(f"/pictures/{card['id']}")
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
        assert [delivery.status for delivery in sandbox.deliveries] == [200]
        assert asked(sandbox) == []
        (charge,) = sandbox.ledger
        assert charge.request["webhook_url"].startswith(app.base)


async def test_all_pages_of_a_customer_get_its_events_and_no_others(tmp_path: Path) -> None:
    """Two open pages get the same card; another customer gets neither it nor its picture."""
    async with studio(tmp_path) as (app, _):
        async with app.events() as one, app.events() as two:
            assert await anext(one) == await anext(two)
            await app.start("on a stage")
            first, second = await anext(one), await anext(two)
        assert first == second
        assert first[1]["prompt"] == "on a stage"
        shown = await app.until("ready")
        address = f"/pictures/{shown['cards'][0]['id']}"
        assert (await app.client.get(address)).status_code == 200
        assert (await app.client.post("/api/customer", json={"name": "Zoë & Co"})).status_code == 422
        assert (await app.client.post("/api/customer", json={"name": "Zoë"})).status_code == 204
        other = await app.state()
        assert (other["customer"], other["cards"]) == ("Zoë", [])
        assert other["credits"] == {"left": "100", "cap": "100"}
        assert (await app.client.get(address)).status_code == 404


async def test_the_same_form_sent_again_is_paid_once(tmp_path: Path) -> None:
    """A double click and a repeated request are one order; the same token with other content is refused."""
    async with studio(tmp_path) as (app, sandbox):
        answers = await asyncio.gather(*[app.start("a", "b", token="the-token") for _ in range(5)])
        assert {answer.status_code for answer in answers} == {202}
        ids = {tuple(card["id"] for card in answer.json()["cards"]) for answer in answers}
        assert len(ids) == 1
        await app.until("ready", "ready")
        assert (await app.start("a", "b", token="the-token")).status_code == 202
        assert (await app.start("a", "other", token="the-token")).status_code == 409
        assert paid(sandbox) == 2


async def test_the_cap_stops_a_whole_order_before_anything_is_sent(tmp_path: Path) -> None:
    """An order over the cap starts nothing and says so; a cheaper one starts; failed looks stay paid."""
    async with studio(tmp_path, credits=Decimal(5)) as (app, sandbox):
        form = {"token": "estimate", "avatars": [ADA], "scenes": "a\nb\nc"}
        cost = (await app.client.post("/api/looks/estimate", json=form)).json()
        assert (cost["looks"], cost["credits"], cost["left"], cost["fits"]) == (3, "6", "5", False)
        answer = await app.start("a", "b", "c")
        assert answer.status_code == 402
        assert answer.json()["detail"] == "This costs 6 credits and 5 of 5 are left. Nothing was started."
        assert paid(sandbox) == 0
        assert (await app.start("a", "[fail] b")).status_code == 202
        shown = await app.until("ready", "failed")
        assert shown["credits"]["left"] == "1"
        assert shown["cards"][1]["reason"]
        assert (await app.start("c")).status_code == 402
        assert paid(sandbox) == 2


async def test_a_new_avatar_can_be_the_source_of_an_order(tmp_path: Path) -> None:
    """Made from a prompt or from pictures; only a ready one of the customer's own can be a source."""
    async with studio(tmp_path) as (app, sandbox):
        sandbox.hold()
        prompt = {"token": app.token(), "name": "Alex", "prompt": "Young entrepreneur", "style": "selfie"}
        images = {"token": app.token(), "name": "Mara", "image_urls": ["https://example.com/mara.jpg"]}
        assert (await app.client.post("/api/avatars", json=prompt)).status_code == 202
        assert (await app.client.post("/api/avatars", json=images)).status_code == 202
        alex, mara = (await app.until("making", "ready"))["cards"]
        early = await app.start("a", avatars=[alex["ref"]])
        assert (early.status_code, early.json()["field"]) == (400, "avatars")
        sandbox.settle(alex["ref"], "ready")
        await app.until("ready", "ready")
        sandbox.release()
        answer = await app.start("a", "b", avatars=[alex["ref"], mara["ref"]])
        names = [card["name"] for card in answer.json()["cards"]]
        assert names == ["Alex", "Mara", "Alex", "Mara"]
        await app.until(*["ready"] * 6)
        assert sandbox.credits_spent == 10
        await app.client.post("/api/customer", json={"name": "Somebody else"})
        assert (await app.start("a", avatars=[alex["ref"]])).status_code == 400


async def test_a_look_can_be_edited_again(tmp_path: Path) -> None:
    """An edit that is ready can be the source of the next one, which belongs to the same avatar."""
    async with studio(tmp_path) as (app, sandbox):
        await app.start("on a stage")
        (first,) = (await app.until("ready"))["cards"]
        answer = await app.start("with glasses", avatars=[first["ref"]])
        assert answer.status_code == 202
        (_, second) = (await app.until("ready", "ready"))["cards"]
        assert (second["name"], second["source"]) == ("Ada", first["ref"])
        assert sandbox.ledger[1].request["look_id"] == first["ref"].partition(":")[2]
        await app.client.post("/api/customer", json={"name": "Mara"})
        other = await app.start("with a hat", avatars=[first["ref"]])
        assert (other.status_code, other.json()["field"]) == (400, "avatars")


async def test_a_failed_look_is_made_again_once(tmp_path: Path) -> None:
    """A failed look is made again as another order, paid once, however often and after a restart."""
    port = unused_port()
    async with Sandbox() as sandbox:
        settings = settings_for(sandbox, tmp_path, port)
        async with serving(settings, port) as app:
            sandbox.hold()
            await app.start("a")
            sandbox.settle((await app.until("making"))["cards"][0]["ref"], "failed")
            (failed,) = (await app.until("failed"))["cards"]
            address = f"/api/cards/{failed['id']}/again"
            answers = await asyncio.gather(*[app.client.post(address) for _ in range(5)])
            assert {answer.status_code for answer in answers} == {202}
            (new,) = {answer.json()["cards"][0]["id"] for answer in answers}
            shown = await app.until("failed", "making")
            assert shown["credits"]["left"] == "96"
            sandbox.settle(shown["cards"][1]["ref"], "ready")
            await app.until("failed", "ready")
        async with serving(settings, port) as app:
            cards = (await app.until("failed", "ready"))["cards"]
            assert [card["again"] for card in cards] == [None, failed["id"]]
            assert (await app.client.post(address)).json()["cards"][0]["id"] == new
            late = await app.client.post(f"/api/cards/{new}/again")
            assert (late.status_code, "ready" in late.json()["detail"]) == (409, True)
            assert paid(sandbox) == 2


async def test_a_refused_look_is_tried_again_under_its_key(tmp_path: Path) -> None:
    """What the API refused cost nothing, and is sent again when the customer says so."""
    async with studio(tmp_path) as (app, sandbox):
        sandbox.fail_next("edit", Fault.status(400))
        await app.start("a")
        (refused,) = (await app.until("refused"))["cards"]
        assert (await app.client.post(f"/api/cards/{refused['id']}/again")).status_code == 202
        shown = await app.until("ready")
        assert (paid(sandbox), shown["credits"]["left"]) == (1, "98")


async def test_a_picture_is_downloaded_under_a_name(tmp_path: Path) -> None:
    """A download has a file name of the words that the page gives, which is safe on every system."""
    async with studio(tmp_path) as (app, _):
        await app.start("a")
        card = (await app.until("ready"))["cards"][0]
        address = f"/pictures/{card['id']}"
        for title, name in (("Ada: on a/stage", "Ada-on-a-stage.jpg"), ("../..", "look.jpg")):
            answer = await app.client.get(address, params={"download": title})
            assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert "content-disposition" not in (await app.client.get(address)).headers


async def test_a_page_that_shows_another_customer_is_refused(tmp_path: Path) -> None:
    """A tab that shows Guest charges nobody after another tab has changed to Zoë, and is told so."""
    async with studio(tmp_path) as (app, sandbox):
        await app.client.post("/api/customer", json={"name": "Zoë"})
        form = {"token": app.token(), "avatars": [ADA], "scenes": "a"}
        for path in ("/api/looks", "/api/looks/estimate"):
            stale = await app.client.post(path, json=form, headers={"X-Customer": "Guest"})
            assert (stale.status_code, stale.json()["field"]) == (409, "customer")
            assert "Nothing was started or charged" in stale.json()["detail"]
        assert paid(sandbox) == 0
        fresh = await app.client.post("/api/looks", json=form, headers={"X-Customer": "Zo%C3%AB"})
        assert fresh.status_code == 202
        await app.until("ready")


async def test_a_restart_keeps_settled_looks_and_resumes_the_others(tmp_path: Path) -> None:
    """Ready, failed, settled meanwhile, still pending, and ordered but never sent."""
    port = unused_port()
    async with Sandbox() as sandbox:
        settings = settings_for(sandbox, tmp_path, port, credits=Decimal(20))
        async with serving(settings, port) as app:
            await app.start("done", "[fail] broken")
            before = await app.until("ready", "failed")
            sandbox.hold()
            await app.start("while away", "still pending")
            pending = (await app.until("ready", "failed", "making", "making"))["cards"][2:]
        sandbox.settle(pending[0]["ref"], "ready")
        await Journal(tmp_path / "orders.jsonl").append(order("never sent"))
        async with serving(settings, port) as app:
            shown = await app.until("ready", "failed", "ready", "making", "making")
            old, new = before["cards"], shown["cards"][:2]
            assert [card["reason"] for card in old] == [card["reason"] for card in new]
            assert [card["id"] for card in old] == [card["id"] for card in new]
            assert shown["credits"] == {"left": "10", "cap": "20"}
            assert paid(sandbox) == 5
            sandbox.release()
            sandbox.settle(pending[1]["ref"], "ready")
            shown = await app.until("ready", "failed", "ready", "ready", "ready")
            for card in shown["cards"]:
                found = (await app.client.get(f"/pictures/{card['id']}")).status_code
                assert found == (200 if card["state"] == "ready" else 404)
            assert paid(sandbox) == 5


def order(*scenes: str) -> Order:
    wishes = tuple(Wish(kind="edit", name="Ada", source=ADA, prompt=scene) for scene in scenes)
    return Order.model_validate(
        {"customer": "Guest", "token": "from-before", "at": "2026-01-01T00:00:00Z", "wishes": wishes}
    )


async def test_a_restart_with_a_lower_cap_sends_nothing_beyond_it(tmp_path: Path) -> None:
    """Ordered looks over the new cap are not sent; the card has the reason, and can be retried later."""
    tmp_path.joinpath("orders.jsonl").touch()
    await Journal(tmp_path / "orders.jsonl").append(order("a", "b"))
    async with studio(tmp_path, credits=Decimal(3)) as (app, sandbox):
        shown = await app.until("ready", "unsent")
        assert "cap of 3" in shown["cards"][1]["reason"]
        again = await app.client.post(f"/api/cards/{shown['cards'][1]['id']}/again")
        assert again.status_code == 402
        assert paid(sandbox) == 1


async def test_a_card_says_what_failed_and_what_it_may_have_cost(tmp_path: Path) -> None:
    """A lost request may be charged and is never resent; one refused for lack of credits is free."""
    async with studio(tmp_path, sandbox=Sandbox(credits=4, deliveries=DeliveryOptions(lose=1))) as (
        app,
        sandbox,
    ):
        sandbox.fail_next("edit", Fault.DROP_AFTER)
        await app.start("lost on the way")
        shown = await app.until("unknown")
        assert shown["credits"]["left"] == "98"
        card = shown["cards"][0]
        assert (await app.client.post(f"/api/cards/{card['id']}/again")).status_code == 400
        await app.start("too dear", resolution="4K")
        shown = await app.until("unknown", "unsent")
        assert shown["cards"][1]["reason"] == (
            "Insufficient credits: the Hoox workspace has too few. Add some there, then try again."
        )
        assert shown["credits"]["left"] == "98"
        sandbox.space.balance = Decimal(100)
        again = await app.client.post(f"/api/cards/{shown['cards'][1]['id']}/again")
        assert again.status_code == 202
        shown = await app.until("unknown", "making")
        assert shown["credits"]["left"] == "94"
        assert [charge.request["prompt"] for charge in sandbox.ledger] == ["lost on the way", "too dear"]
        assert (await app.client.post("/api/cards/no-such-card/again")).status_code == 404


async def test_a_lost_look_whose_webhook_comes_is_shown(tmp_path: Path) -> None:
    """A delivery for the lost request proves that it was accepted, and the picture is shown."""
    async with studio(tmp_path) as (app, sandbox):
        sandbox.hold()
        sandbox.fail_next("edit", Fault.DROP_AFTER)
        await app.start("lost on the way")
        await app.until("unknown")
        sandbox.settle(sandbox.ledger[0].ref, "ready")
        shown = await app.until("ready")
        assert (await app.client.get(f"/pictures/{shown['cards'][0]['id']}")).status_code == 200
        assert (paid(sandbox), shown["credits"]["left"]) == (1, "98")


async def test_without_webhooks_the_session_polls_the_looks(tmp_path: Path) -> None:
    """If the API cannot reach the app, looks are settled by status requests."""
    async with studio(tmp_path, webhooks=False) as (app, sandbox):
        await app.start("a", "b")
        await app.until("ready", "ready")
        assert sandbox.deliveries == []
        assert asked(sandbox)


async def test_an_invalid_form_is_refused_with_the_reason(tmp_path: Path) -> None:
    """An invalid form is refused with its reason, and nothing is sent to the API."""
    async with studio(tmp_path) as (app, sandbox):
        avatar = {"token": app.token(), "name": "Alex"}
        refused = [
            await app.start("a", style="cubist"),
            await app.start("a", resolution="8K"),
            await app.start(" ", ""),
            await app.start("a", avatars=["nonsense"]),
            await app.start(*["scene"] * 201),
            await app.start("a", token="short"),
            await app.client.post("/api/avatars", json=avatar),
            await app.client.post("/api/avatars", json={**avatar, "image_urls": ["portrait.jpg"]}),
            await app.client.post("/api/avatars/estimate", json=avatar),
        ]
        assert [answer.status_code for answer in refused] == [400, 400, 400, 400, 400, 422, 400, 400, 400]
        told = [answer.json()["detail"] for answer in refused]
        assert "one of iphone" in told[0]
        assert told[2] == "Choose an avatar and write a scene."
        assert "no local files" in told[7]
        assert paid(sandbox) == 0
        assert (await app.state())["credits"]["left"] == "100"


async def test_a_message_is_a_sentence_and_never_a_regular_expression(tmp_path: Path) -> None:
    """What the forms' checks find is told in words: no pattern, no type name, no path into a form."""
    async with studio(tmp_path) as (app, _):
        long = {"token": app.token(), "name": "x" * 61, "prompt": "x"}
        told = [
            await app.client.post("/api/customer", json={"name": "Zoë & Co"}),
            await app.client.post("/api/customer", json={"name": " "}),
            await app.client.post("/api/customer", json={"name": None}),
            await app.client.post("/api/customer", content="no json"),
            await app.client.post("/api/avatars", json=long),
            await app.client.post("/api/avatars", json={**long, "name": "x", "prompt": "x" * 2001}),
            await app.client.post("/api/avatars", json={**long, "name": "x", "image_urls": ["x" * 2001]}),
            await app.client.post("/api/looks", json=[]),
            await app.start("a", token="short"),
            await app.start("a", token="a/b" * 5),
            await app.start("x" * 40_001),
            await app.start("x" * 2001),
            await app.start("a", style="cubist"),
            await app.start("a", avatars="nobody"),
        ]
        for answer in told:
            detail = answer.json()["detail"]
            assert answer.status_code in (400, 422)
            assert detail[0].isupper(), detail
            for code in ("^", "\\", "[", "pattern", "String", "string", "Input", "type", "body"):
                assert code not in detail, detail
        assert told[1].json()["detail"] == "Write a name."
        assert told[4].json()["detail"].startswith("The name: too long, at most 60 characters")


async def test_the_app_rejects_what_other_sites_send(tmp_path: Path) -> None:
    """Each response has the security headers; forged deliveries, forms and cookies do no harm."""
    async with studio(tmp_path) as (app, _):
        for path in ("/", "/static/studio.js", "/static/studio.css", "/api/faces", "/pictures/none"):
            answer = await app.client.get(path)
            assert answer.headers["content-security-policy"].startswith("default-src 'none'"), path
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await app.client.post("/hooks/hoox/forged", json={})).status_code == 404
        assert (await app.client.get("/docs")).status_code == 404
        assert (await app.client.get("/static/../app.py")).status_code == 404
        cross = await app.client.post(
            "/api/looks", content='{"token": "x"}', headers={"content-type": "text/plain"}
        )
        assert cross.status_code == 422
    async with studio(tmp_path / "other") as (app, _):
        app.client.cookies.set("customer", "%3Cscript%3E")
        assert (await app.state())["customer"] == "Guest"


async def test_a_catalogue_that_could_not_be_read_is_requested_again(tmp_path: Path) -> None:
    """The API's error is shown as 502, and the next request reads the catalogue."""
    async with studio(tmp_path) as (app, sandbox):
        sandbox.fail_next("list", Fault.status(404))
        assert (await app.client.get("/api/faces")).status_code == 502
        faces = (await app.client.get("/api/faces")).json()
        assert ADA in [face["ref"] for face in faces]
        assert (await app.client.get(f"/pictures/{faces[0]['id']}")).headers["content-type"] == "image/jpeg"


async def test_a_picture_that_could_not_be_saved_is_fetched_when_a_page_requests_it(tmp_path: Path) -> None:
    """A look whose picture could not be saved is ready, and its picture is fetched for a page."""
    async with studio(tmp_path) as (app, sandbox):
        sandbox.hold()
        sandbox.fail_next("picture", Fault.status(404))
        await app.start("a")
        card = (await app.until("making"))["cards"][0]
        sandbox.settle(card["ref"], "ready")
        await app.until("ready")
        async with asyncio.timeout(60):
            while not any(request.endpoint == "picture" for request in sandbox.requests):
                await asyncio.sleep(0.01)
        assert not list((tmp_path / "pictures").glob("*/*"))
        assert (await app.client.get(f"/pictures/{card['id']}")).status_code == 200


async def test_an_order_that_cannot_be_saved_is_not_started(tmp_path: Path) -> None:
    """An order that cannot be saved is refused, its credits are released, and nothing is sent."""
    async with studio(tmp_path) as (app, sandbox):
        (tmp_path / "orders.jsonl").mkdir()
        answer = await app.start("a", token="the-token")
        assert (answer.status_code, answer.json()["detail"][:9]) == (503, "The order")
        state = await app.state()
        assert (state["cards"], state["credits"]["left"]) == ([], "100")
        (tmp_path / "orders.jsonl").rmdir()
        assert (await app.start("a", token="the-token")).status_code == 202
        await app.until("ready")
        assert paid(sandbox) == 1


async def test_an_order_that_is_twice_in_the_journal_is_one_order(tmp_path: Path) -> None:
    """A form sent again after a crash between writing and responding costs nothing more."""
    journal = Journal(tmp_path / "orders.jsonl")
    await journal.append(order("a"))
    await journal.append(order("a"))
    async with studio(tmp_path) as (app, sandbox):
        shown = await app.until("ready")
        assert (paid(sandbox), shown["credits"]["left"]) == (1, "98")


async def test_the_journal_skips_an_incomplete_line(tmp_path: Path) -> None:
    """What is appended after a line that a crash cut is complete."""
    journal = Journal(tmp_path / "orders.jsonl")
    assert await journal.read() == []
    await journal.append(order("a"))
    with (tmp_path / "orders.jsonl").open("ab") as file:
        file.write(b'{"customer": "Gu')
    await journal.append(order("b"))
    assert [found.wishes[0].prompt for found in await journal.read()] == ["a", "b"]


async def test_the_sandbox_keeps_its_looks_between_two_runs(tmp_path: Path) -> None:
    """Avatars, looks and charges are loaded again; pending looks are made and delivered in the next run."""
    port = unused_port()
    for run in (1, 2):
        world = PersistentSandbox(tmp_path / "world.pickle", port=port, speed=40.0)
        async with world.running() as sandbox, sandbox.session(hooks=[world.on_event]) as session:
            if run == 1:
                sandbox.hold()
                job = await session.create_avatar("somebody", webhook_url=f"http://127.0.0.1:{port}/nowhere")
                ref = job.ref
            else:
                assert (await session.wait(ref, timeout=60)).ref == ref
                assert [charge.ref for charge in sandbox.ledger] == [ref]
                edit = await session.edit_look(ref, "again")
                assert isinstance(edit.ref, LookRef)
                async with asyncio.timeout(60):
                    while not sandbox.deliveries:
                        await asyncio.sleep(0.01)
    (tmp_path / "world.pickle").write_bytes(b"no pickle")
    async with PersistentSandbox(tmp_path / "world.pickle", port=port, speed=40.0).running() as sandbox:
        assert sandbox.ledger == []


async def test_the_stream_of_a_page_that_is_too_slow_ends() -> None:
    """The stream of a page that is too slow ends, and the other pages get further events."""
    feed = Feed()
    slow, quick = feed.stream("Guest", dict), feed.stream("Guest", dict)
    await anext(slow)
    await anext(quick)
    for number in range(2001):
        feed.publish("Guest", "card", number)
        await anext(quick)
    assert [part async for part in slow] == []
    feed.close()
    assert [part async for part in quick] == []
    assert len([part async for part in feed.stream("Guest", dict)]) == 1


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a key it uses a sandbox; webhooks of the real API need both an address and a secret."""
    for name in ("HOOX_API_KEY", "PUBLIC_URL", "HOOX_WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)

    def made() -> Settings:
        return Settings.from_environment(port=8000, data=tmp_path, credits=Decimal(1))

    assert (made().sandbox, made().sandbox_port) == (True, 8001)
    monkeypatch.setenv("HOOX_API_KEY", "hx_live_secret")
    assert (made().sandbox, made().public_url) == (False, None)
    assert made().data != tmp_path / "sandbox"
    assert "hx_live_secret" not in repr(made())
    monkeypatch.setenv("PUBLIC_URL", "https://studio.example")
    with pytest.raises(ConfigurationError, match="HOOX_WEBHOOK_SECRET"):
        made()
    monkeypatch.setenv("HOOX_WEBHOOK_SECRET", SECRET)
    assert made().public_url == "https://studio.example"
