"""`check --conformance`: what it does, what it never does, and the report that comes out in every case."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from cli_kit import Cli, Done, Terminal

from hoox_async import ImageAvatar, LookEdit
from hoox_async._conformance.assumptions import Fact
from hoox_async._conformance.step_runner import SpellingTransport
from hoox_async.sandbox import AnswerForms, DeliveryOptions, Fault, Sandbox, Space

QUICK = (0.01, 0.02, 0.03)
"""Seconds after which the sandbox sends a delivery again."""


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause before the last read, none before a read is repeated, and pictures that need no drawing."""
    monkeypatch.setattr("hoox_async._cli.commands.check._SPREAD", 0.0)
    monkeypatch.setattr("hoox_async._core.retry._backoff", lambda *_: 0.0)
    monkeypatch.setattr("hoox_async.sandbox.http_server.paint", lambda look: b"\xff\xd8\xff\xe0 picture")


TWO_IMAGES = ("--image", "https://images.test/a.jpg", "--image", "https://images.test/b.jpg")

Serve = Callable[..., Cli]


@pytest.fixture
def serve(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a sandbox with these options, and the command line on it."""
    running: list[Sandbox] = []

    def start(**options: Any) -> Cli:
        sandbox = Sandbox(**{"speed": 1000.0, **options})
        sandbox.__enter__()
        running.append(sandbox)
        monkeypatch.setenv("HOOX_API_KEY", sandbox.api_key)
        monkeypatch.setenv("COLUMNS", "100")
        return Cli(sandbox, capsys)

    yield start
    for sandbox in running:
        sandbox.__exit__(None, None, None)


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def with_deliveries() -> tuple[str, ...]:
    """The options with which deliveries are received on this machine."""
    port = free_port()
    return "--public-url", f"http://127.0.0.1:{port}/hooks/hoox", "--listen", f"127.0.0.1:{port}"


def check(cli: Cli, *options: str | Path, rpm: int = 6000) -> Done:
    """Run the check without a question. Whatever happens, it makes one avatar at most, for 0 credits."""
    before = len(cli.sandbox.ledger)
    done = cli("check", "--conformance", "--yes", *options, rpm=rpm)
    made = cli.sandbox.ledger[before:]
    assert len(made) <= 1
    assert all(charge.credits == 0 and "prompt" not in charge.request for charge in made)
    return done


def report_of(done: Done) -> dict[str, Any]:
    """The report as JSON."""
    [report] = done.of("conformance")
    return report


def facts_of(done: Done) -> dict[str, dict[str, Any]]:
    """The facts of the report by their ids."""
    return {fact["id"]: fact for fact in report_of(done)["facts"]}


def steps_of(done: Done) -> dict[str, dict[str, Any]]:
    """The steps of the report by their names."""
    return {step["name"]: step for step in report_of(done)["steps"]}


# --- what it sees, in each form of the API


@pytest.mark.parametrize("form", ["old", "new"])
@pytest.mark.parametrize("vocabulary", ["both", "completed", "ready"])
def test_it_recognizes_each_vocabulary_and_each_payload(serve: Serve, vocabulary: Any, form: Any) -> None:
    """In each vocabulary and form of payload, every step is done and the words and the form are named."""
    cli = serve(
        vocabulary=vocabulary, requests_per_minute=6000, deliveries=DeliveryOptions(form=form, retries=QUICK)
    )
    done = check(cli, "--json", *with_deliveries())
    assert done.code == 0, done.err
    facts = facts_of(done)
    first = "ready" if vocabulary == "ready" else "completed"
    second = "completed" if vocabulary == "completed" else "ready"
    assert facts["status.words"]["seen"] == first
    assert facts["avatar.words"]["seen"] == facts["look.words"]["seen"] == second
    assert facts["words.settled"]["seen"].startswith("both" if first != second else "one")
    assert facts["delivery.word"]["seen"] == first
    assert facts["delivery.form"]["seen"].startswith("the older one" if form == "old" else "the newer one")
    assert [fact for fact in facts.values() if fact["matters"]] == []
    assert {step["outcome"] for step in steps_of(done).values()} == {"done"}
    assert [charge.credits for charge in cli.sandbox.ledger] == [0]


@pytest.mark.parametrize(
    ("forms", "fact", "seen", "differs"),
    [
        ({"created": 200}, "create.status", "HTTP 200", False),
        ({"result": "picture"}, "status.result", "result: thumbnail_url", False),
        ({"codes": "upper"}, "error.codes", "upper case: INVALID_API_KEY", False),
        ({"errors": "details"}, "error.key", "HTTP 401, code invalid_api_key, fields: details, error", False),
        ({}, "create.looks", "2 images made 1 look", False),
        ({"looks_of_images": "each"}, "create.looks", "2 images made 2 looks", True),
        ({"reset": "seconds"}, "quota.reset", "seconds from now", True),
        ({"reset": "milliseconds"}, "quota.reset", "Unix milliseconds", True),
        ({"reset": "none"}, "quota.reset", "no x-ratelimit-reset header", True),
    ],
)
def test_it_recognizes_each_form(serve: Serve, forms: Any, fact: str, seen: str, differs: bool) -> None:
    """A form that the vendor's pages leave open is named, and whether it differs; none of these matters."""
    done = check(serve(forms=AnswerForms(**forms)), "--json", *TWO_IMAGES)
    assert done.code == 0, done.err
    found = facts_of(done)[fact]
    assert seen in found["seen"]
    assert (found["differs"], found["matters"]) == (differs, False)


def test_a_refused_field_for_images_matters(serve: Serve) -> None:
    """If the API takes images under another name only, that is a difference that matters, and code 1.

    The other steps then read a look of the catalogue.
    """
    cli = serve(forms=AnswerForms(images="images"))
    done = check(cli, "--json")
    assert done.code == 1
    images = facts_of(done)["create.images"]
    assert images["seen"] == "refused with HTTP 400, code MISSING_PROMPT"
    assert images["matters"] is True
    steps = steps_of(done)
    assert (steps["create"]["outcome"], steps["create"]["status"]) == ("failed", 400)
    assert steps["look"]["outcome"] == "done"
    assert cli.sandbox.ledger == []


def test_images_can_be_sent_under_the_other_name() -> None:
    """The private switch sends a creation's images as `images`, and an edit's as `imageUrls`, each once."""

    async def buy() -> list[Any]:
        async with Sandbox(forms=AnswerForms(images="images")) as sandbox:
            transport = SpellingTransport(sandbox.api_key, base_url=sandbox.base_url)
            transport.other_name = True
            async with sandbox.session(transport=transport) as session:
                look = await session.run(ImageAvatar([TWO_IMAGES[1]]))
                await session.submit(LookEdit(look, "a", images=[TWO_IMAGES[1]]))
            return [record for record in sandbox.requests if record.body is not None]

    create, edit = (record.body for record in asyncio.run(buy()))
    assert create == {"images": [TWO_IMAGES[1]]}
    assert edit["imageUrls"] == [TWO_IMAGES[1]]
    assert "images" not in edit


@pytest.mark.parametrize("list_pending", [False, True])
def test_it_sees_whether_pending_and_failed_looks_are_in_the_list(serve: Serve, list_pending: bool) -> None:
    """With avatars that have a pending and a failed look, the report says how many of them the list has."""
    cli = serve(list_pending=list_pending)
    ref = cli("create", "--image", "https://images.test/a.jpg", "--no-wait").out.strip()
    for ending in ("pending", "failed"):
        cli("edit", ref, "a rainy street", "--no-wait")
        cli.sandbox.settle(cli.sandbox.ledger[-1].ref, ending)
    done = check(cli, "--json")
    facts, inside = facts_of(done), int(list_pending)
    assert facts["list.pending"]["seen"] == f"{inside} of 1 pending look in it"
    assert facts["list.failed"]["seen"] == f"{inside} of 1 failed look in it"
    assert facts["words.pending"]["seen"] == "pending"
    assert facts["words.failed"]["seen"] == "error, failed"
    assert facts["status.failure"]["seen"] == "error: code, message; code GENERATION_FAILED"
    assert steps_of(done)["a pending look"]["outcome"] == "done"


def test_a_named_avatar_is_read_too(serve: Serve) -> None:
    """`--avatar` names an avatar that is read besides, also one that the list does not have."""
    cli = serve()
    cli.sandbox.hold()
    cli("create", "a host", "--no-wait")
    done = check(cli, "--json", "--avatar", cli.sandbox.ledger[0].avatar_id)
    assert steps_of(done)["another avatar 1"]["outcome"] == "done"
    assert facts_of(done)["list.pending"]["seen"] == "0 of 1 pending look in it"


def test_it_uses_the_named_picture(serve: Serve) -> None:
    """Without `--image` the avatar is made from a picture of the catalogue, else from the named ones."""
    cli = serve()
    check(cli)
    assert cli.sandbox.ledger[0].request["imageUrls"][0].startswith("http://127.0.0.1:")
    cli = serve(seed=2)
    check(cli, *TWO_IMAGES)
    images = cli.sandbox.ledger[0].request["imageUrls"]
    assert images == ["https://images.test/a.jpg", "https://images.test/b.jpg"]


def test_a_delivery_that_does_not_come_is_a_failed_step(serve: Serve) -> None:
    """If the receiver is reached and no delivery comes, that is a line, a difference, and code 1."""
    cli = serve(deliveries=DeliveryOptions(lose=1.0))
    done = check(cli, "--json", "--delivery-wait", "0.1", *with_deliveries())
    assert done.code == 1
    assert steps_of(done)["delivery"]["detail"] == "none came in 0.1 s"
    assert facts_of(done)["delivery.sent"]["seen"] == "none came"


def test_a_public_url_that_leads_elsewhere_is_told(serve: Serve) -> None:
    """If the public URL does not lead to the receiver, the report says so, and takes nothing for proved."""
    cli = serve()
    elsewhere = ("--public-url", f"http://127.0.0.1:{free_port()}/hooks", "--listen", "127.0.0.1:0")
    done = check(cli, "--json", "--delivery-wait", "0.1", *elsewhere)
    assert "does not reach its own receiver" in steps_of(done)["public URL"]["detail"]
    assert facts_of(done)["delivery.sent"]["differs"] is None


def test_refused_deliveries_show_when_the_api_sends_them_again(serve: Serve) -> None:
    """The first three deliveries are answered 503, and the fourth 200: then no other one comes."""
    cli = serve(deliveries=DeliveryOptions(retries=QUICK))
    check(cli, *with_deliveries())
    assert [delivery.status for delivery in cli.sandbox.deliveries] == [503, 503, 503, 200]


# --- failures


@pytest.mark.parametrize(
    ("endpoint", "steps"),
    [
        ("create", ["create"]),
        ("status", ["status", "missing look", "status again"]),
        ("avatar", ["avatar", "missing avatar"]),
        ("look", ["look"]),
        ("list", ["catalogue", "create", "list", "unknown filter"]),
    ],
)
@pytest.mark.parametrize(
    "fault", [Fault.ERROR_500_AFTER, Fault.NOT_JSON, Fault.DROP_AFTER, Fault.BAD_GATEWAY, Fault.TRUNCATED]
)
def test_the_report_comes_out_if_a_step_fails(
    serve: Serve, endpoint: str, steps: list[str], fault: Fault
) -> None:
    """Whatever one endpoint answers, each failed step is a line with its reason, and the others are done."""
    cli = serve()
    cli.sandbox.fail_next(endpoint, fault, times=1000)
    done = check(cli, "--json")
    found = steps_of(done)
    failed = [name for name, step in found.items() if step["outcome"] != "done"]
    refusals = [name for name in steps if fault is Fault.TRUNCATED and name.startswith("missing")]
    assert set(failed) >= set(steps) - set(refusals)  # half a body of a 404 is a 404
    assert all(found[name]["detail"] for name in failed)
    assert found["wrong key"]["outcome"] == "done" or fault is Fault.DROP_AFTER
    assert done.code in (1, 4)
    assert len(cli.sandbox.ledger) <= 1


def test_a_list_of_another_form_matters(serve: Serve) -> None:
    """A list that is no array is named with its fields, and matters; the check goes on without it."""
    cli = serve()
    cli.sandbox.fail_next("list", Fault.status(200, '{"looks": [], "next_page": 2}'), times=1000)
    done = check(cli, "--json", "--image", "https://images.test/a.jpg")
    assert done.code == 1
    form = facts_of(done)["list.form"]
    assert form["seen"] == "an object: looks, next_page"
    assert form["matters"] is True
    steps = steps_of(done)
    assert steps["look"]["outcome"] == "done"
    assert steps["list"]["detail"].endswith("cannot understand: expected a list of looks, got an object")


@pytest.mark.parametrize(
    ("status", "code"), [(401, "invalid_api_key"), (403, "plan_required"), (404, "SPACE_NOT_FOUND")]
)
@pytest.mark.fast_clock
def test_a_refused_key_or_plan_ends_with_code_3(serve: Serve, status: int, code: str) -> None:
    """If the API refuses the key or the plan, the other steps are skipped; the report and code 3 come out."""
    cli = serve()
    for endpoint in ("list", "status", "create"):
        body = json.dumps({"error": "no", "code": code})
        cli.sandbox.fail_next(endpoint, Fault.status(status, body), times=1000)
    done = check(cli, "--json")
    assert done.code == 3
    steps = steps_of(done)
    assert steps["catalogue"]["detail"] == f"refused with HTTP {status}, code {code}"
    assert steps["create"]["outcome"] == "skipped"
    assert cli.sandbox.ledger == []


def test_an_avatar_that_needs_credits_matters(serve: Serve) -> None:
    """If the avatar from images is refused for want of credits, that matters, and the reads go on."""
    cli = serve()
    body = '{"error": "no", "code": "insufficient_credits"}'
    cli.sandbox.fail_next("create", Fault.status(402, body))
    done = check(cli, "--json")
    assert done.code == 1
    price = facts_of(done)["create.price"]
    assert price["seen"] == "refused with HTTP 402, code insufficient_credits: it needs credits"
    assert price["matters"] is True
    assert steps_of(done)["look"]["outcome"] == "done"


def test_a_server_that_is_down_ends_with_code_4(serve: Serve) -> None:
    """If nothing answers, the check gives up after two steps, says so, and ends with code 4."""
    cli = serve()
    done = cli.bare(
        "check", "--conformance", "--yes", "--json", "--image", "https://images.test/a.jpg",
        "--base-url", f"http://127.0.0.1:{free_port()}",
    )  # fmt: skip
    assert done.code == 4
    steps = steps_of(done)
    assert steps["catalogue"]["outcome"] == steps["create"]["outcome"] == "failed"
    assert steps["list"]["detail"] == "no answer in the 2 steps before"


def test_an_interrupted_check_reports_what_it_saw(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the check with code 4 and a report: what was done, what was interrupted."""
    cli = serve()

    async def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr("hoox_async._conformance.steps.Check._use_wrong_key", interrupted)
    done = check(cli, "--json")
    assert done.code == 4
    steps = steps_of(done)
    assert steps["create"]["outcome"] == "done"
    assert steps["wrong key"]["detail"] == "interrupted"
    assert "status again" not in steps


# --- asking, and the options


def test_nothing_is_sent_without_a_yes(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can be asked, `--yes` is needed; a no ends it. Both times nothing is sent."""
    cli = serve()
    done = cli("check", "--conformance")
    assert done.code == 2
    assert "add --yes. Nothing was sent" in done.err
    monkeypatch.setattr(Terminal, "can_ask", True)
    monkeypatch.setattr("builtins.input", lambda: "n")
    done = cli("check", "--conformance")
    assert done.code == 4
    assert done.err.rstrip().endswith("nothing was sent")
    assert cli.sandbox.requests == []


def test_the_question_says_what_will_happen(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the question stand the credits, the avatar, the number of requests and the wrong key.

    A check sends no more requests than it says.
    """
    cli = serve(requests_per_minute=6000)
    for _ in range(5):
        cli("create", "--image", "https://images.test/a.jpg", "--no-wait")
    before = len(cli.sandbox.requests)
    monkeypatch.setattr(Terminal, "can_ask", True)
    monkeypatch.setattr("builtins.input", lambda: "y")
    done = cli("check", "--conformance")
    assert done.code == 0
    for told in ("about 17 requests", "makes one avatar, 'hoox-async check'", "0 credits", "a wrong API key"):
        assert told in done.err
    sent = [one for one in cli.sandbox.requests[before:] if one.endpoint != "picture"]
    assert 10 < len(sent) <= 17
    assert [one.endpoint for one in sent].count("create") == 1
    assert [one.endpoint for one in sent].count("edit") == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--yes",), "--yes: only with --conformance"),
        (("--public-url", "https://a.test"), "--public-url: only with --conformance"),
        (("--conformance", "--yes", "--delivery-wait", "0"), "--delivery-wait: 0.0 is not usable"),
        (
            ("--conformance", "--yes", "--public-url", "https://a.test?x=1"),
            "--public-url expected an http(s) URL of scheme, host and path alone",
        ),
        (
            ("--conformance", "--yes", "--public-url", "https://a.test", "--listen", "8765"),
            "--listen 8765: expected host:port",
        ),
        (("--conformance", "--yes", "--image", "portrait.jpg"), "portrait.jpg"),
        (
            ("--conformance", "--base-url", "http://example.com"),
            "--base-url: 'http://example.com' is not https",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(
    serve: Serve, options: tuple[str, ...], told: str
) -> None:
    """A wrong option ends with code 2 and names itself, and nothing is sent."""
    cli = serve()
    address = () if "--base-url" in options else ("--base-url", cli.sandbox.base_url)
    done = cli.bare("check", *options, *address)
    assert done.code == 2
    assert told in done.err
    assert len(done.err.splitlines()) == 1
    assert cli.sandbox.requests == []


def test_a_taken_port_is_one_line(serve: Serve) -> None:
    """A port that is taken ends the check before anything is sent, in one line that names the option."""
    cli = serve()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = check(cli, "--public-url", "https://a.test/hooks", "--listen", f"127.0.0.1:{port}")
    assert done.code == 2
    assert f"--listen 127.0.0.1:{port}: nothing can listen there" in done.err
    assert cli.sandbox.requests == []


def test_plain_check_still_takes_one_request(serve: Serve) -> None:
    """`check` without the option sends one small request and makes nothing."""
    cli = serve()
    assert cli("check").code == 0
    assert len(cli.sandbox.requests) == 1


# --- the report


def test_the_text_is_readable_in_80_columns(serve: Serve, tmp_path: Path) -> None:
    """The report for people is at most 80 wide, begins with a summary, and names first what matters."""
    cli = serve(forms=AnswerForms(images="images", reset="seconds"))
    done = check(cli, "--out", tmp_path / "report.txt")
    text = (tmp_path / "report.txt").read_text()
    assert done.out == text
    assert max(map(len, text.splitlines())) <= 80
    headings = [
        "Summary: ", "Differs, and it matters (1)", "Differs, and does not matter (", "As assumed (",
        "Not seen (", "Steps", "Names of the headers", "Shapes of the answers",
    ]  # fmt: skip
    places = [text.index(heading) for heading in headings]
    assert places == sorted(places)
    assert "[create.images]" in text[places[1] : places[2]]
    assert "[quota.reset]" in text[places[2] : places[3]]


def test_out_writes_json_if_named_so(serve: Serve, tmp_path: Path) -> None:
    """`--out report.json` holds the same JSON as `--json` prints, and an existing file is not overwritten."""
    cli = serve()
    out = tmp_path / "report.json"
    done = check(cli, "--json", "--out", out)
    saved = json.loads(out.read_text())
    assert {"event": "conformance", **saved} == report_of(done)
    assert {field.name for field in attrs.fields(Fact)} == set(saved["facts"][0])
    sent = len(cli.sandbox.requests)
    assert check(cli, "--out", out).code == 2
    assert len(cli.sandbox.requests) == sent


class Needles:
    """What may be in no report."""

    def __init__(self, cli: Cli) -> None:
        charges = cli.sandbox.ledger
        urls = [one.request["webhook_url"] for one in charges if "webhook_url" in one.request]
        ids = [part for one in charges for part in (one.avatar_id, one.look_id)]
        self.tokens = [url.rpartition("/")[2] for url in urls]
        self.texts = [cli.sandbox.api_key, "MARKED", "127.0.0.1", *self.tokens, *ids]

    def found_in(self, text: str) -> list[str]:
        """Those that are in this text."""
        return [needle for needle in self.texts if needle.lower() in text.lower()]


@pytest.mark.parametrize("form", ["old", "new"])
def test_the_report_holds_no_secret(
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    form: Any,
) -> None:
    """Neither form of the report holds the key, a webhook token, the signature of a picture's address, an id,
    an address, or a name of the account, however the API comes to repeat them. Nor do stderr and logs hold a
    key, a token, a signature or a name."""
    caplog.set_level("DEBUG")
    signed = "?X-Amz-Signature=MARKEDSIGNATURE"
    plain = Space.picture_url
    monkeypatch.setattr(Space, "picture_url", lambda self, look: plain(self, look) + signed)
    cli = serve(deliveries=DeliveryOptions(form=form, retries=QUICK))
    cli("create", "--image", "https://images.test/a.jpg", "--name", "Marked Person", "--place", "marked",
        "--no-wait")  # fmt: skip
    odd = {
        "error": f"Marked Ltd has no look, key {cli.sandbox.api_key}", "code": "Marked Ltd",
        "Marked Person": {"marked-2": 1}, "details": [{"code": "MARKED 7", "message": "Marked"}],
    }  # fmt: skip
    cli.sandbox.fail_next("status", Fault.status(404, json.dumps(odd)), after=1, times=1)
    cli.sandbox.fail_next("look", Fault.status(400, json.dumps(odd)))
    done = check(cli, "--out", tmp_path / "report.txt", *with_deliveries())
    in_json = check(cli, "--json", *with_deliveries())
    needles = Needles(cli)
    assert len(needles.texts) == 3 + 2 + 6
    text = (tmp_path / "report.txt").read_text()
    assert "it has a query" in text
    for report in (done.out, text, in_json.out):
        assert len(report) > 5000
        assert needles.found_in(report) == []
    logged = "\n".join(record.getMessage() + repr(record.args) for record in caplog.records)
    for secret in (cli.sandbox.api_key, "MARKED", *needles.tokens):
        assert secret not in done.err + in_json.err + logged
