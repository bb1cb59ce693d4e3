"""`check --conformance --spend`: what it buys, that it buys nothing twice, and what the report says of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Cli, Done, Terminal
from test_cli_conformance import QUICK, Needles, facts_of, report_of, steps_of, with_deliveries

from hoox_async.sandbox import AnswerForms, DeliveryOptions, Fault, Sandbox, Space

PUBLIC = "avtr_public_ada:look_public_ada"
Serve = Callable[..., Cli]


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No pause before the last read, none before a read is repeated, and a folder for the store."""
    monkeypatch.setattr("hoox_async._cli.commands.check._SPREAD", 0.0)
    monkeypatch.setattr("hoox_async._core.retry._backoff", lambda *_: 0.0)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def serve(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a sandbox with these options, and the command line on it. Looks take 0.4 s."""
    running: list[Sandbox] = []

    def start(**options: Any) -> Cli:
        sandbox = Sandbox(**{"duration": lambda *_: 0.4, "speed": 1.0, **options})
        sandbox.__enter__()
        running.append(sandbox)
        monkeypatch.setenv("HOOX_API_KEY", sandbox.api_key)
        return Cli(sandbox, capsys)

    yield start
    for sandbox in running:
        sandbox.__exit__(None, None, None)


def spend(cli: Cli, credits: int | str, *options: str) -> Done:
    """Run the check, which may spend so many credits, without a question."""
    return cli("check", "--conformance", "--yes", "--json", "--spend", str(credits), *options)


def bought(cli: Cli) -> list[Decimal]:
    """The prices of all that was paid for."""
    return [charge.credits for charge in cli.sandbox.ledger if charge.credits]


@pytest.mark.parametrize(
    ("credits", "options", "prices"),
    [
        ("5.5", (), [4]),
        ("100", (), [4, 2]),
        ("10", ("--edit-public", PUBLIC), [4, 2, 2, 2]),
        ("3", ("--edit-public", PUBLIC), [2]),
    ],
)
def test_it_buys_in_order_what_fits(
    serve: Serve, credits: str, options: tuple[str, ...], prices: list[int]
) -> None:
    """An avatar at 4K, an edit of it and two edits of the public look are bought, as far as credits go."""
    cli = serve()
    done = spend(cli, credits, *options)
    assert done.code == 0, done.err
    assert bought(cli) == prices
    assert sum(prices) == sum(Decimal(one["credits"]) for one in report_of(done)["bought"])
    assert {step["outcome"] for step in steps_of(done).values()} == {"done"}
    assert 429 not in {record.status for record in cli.sandbox.requests}
    told = re.search(r"about (\d+) requests", done.err)
    assert told
    assert sum(one.endpoint != "picture" for one in cli.sandbox.requests) <= int(told[1])


def test_a_second_run_goes_on_and_buys_nothing_twice(serve: Serve) -> None:
    """With the first run's store, a second one with more credits buys what is missing, a third nothing."""
    cli = serve()
    for credits, prices in ((4, [4]), (6, [4, 2]), (6, [4, 2])):
        done = spend(cli, credits, "--out", f"report {len(prices)} {credits} {len(cli.sandbox.requests)}.txt")
        assert done.code == 0, done.err
        assert bought(cli) == prices
    assert facts_of(done)["size.4k"]["seen"] == f"{AS_PAID}, as was paid for"
    assert [one["state"] for one in report_of(done)["bought"]] == ["ready, bought in an earlier run"] * 2
    assert Path("conformance.hoox.db").exists()


@pytest.mark.parametrize("fault", [Fault.DROP_AFTER, Fault.ERROR_500_AFTER])
def test_a_lost_purchase_is_never_sent_again(serve: Serve, fault: Fault) -> None:
    """Where no usable answer came, the credits may be paid: the next run sends nothing and says so again."""
    cli = serve()
    cli.sandbox.fail_next("create", fault, after=2)  # after the two from images
    first = spend(cli, 6)
    second = spend(cli, 6)
    for done in (first, second):
        assert done.code == 1
        assert steps_of(done)["4K avatar"]["detail"] == "no usable answer: whether it was made is not known"
        assert steps_of(done)["2K edit"]["outcome"] == "skipped"
    assert bought(cli) == [4]
    assert "4 credits may have been paid, for no answer. Look at it with:\n" in first.err
    assert "unknowns conformance.hoox.db" in first.err
    assert cli("unknowns", "conformance.hoox.db").out.count("conformance/avatar") >= 1


def test_a_refused_purchase_costs_nothing_and_ends_none_of_the_reads(serve: Serve) -> None:
    """Too few credits end the purchases; the report comes out, and nothing was paid."""
    cli = serve(credits=3)
    done = spend(cli, 6)
    assert done.code == 1
    assert "refused with HTTP 402" in steps_of(done)["4K avatar"]["detail"]
    assert bought(cli) == []
    assert [one["state"] for one in report_of(done)["bought"]] == ["not made"]


AS_PAID, TOO_SMALL = "2160 \N{MULTIPLICATION SIGN} 3840", "540 \N{MULTIPLICATION SIGN} 960"


@pytest.mark.parametrize(
    ("options", "told", "fallen"),
    [
        (
            {"forms": AnswerForms(copies="none")},
            {
                "size.4k": f"{AS_PAID}, as was paid for",
                "copies.made": "not copied",
                "copies.count": "no copy for two edits",
                "pending.avatar": "4 of 4 pending looks in it",
                "list.pending": "0 of 4 pending looks in it",
                "create.other_name": "accepted",
                "edit.names": "look_name kept, place kept, tags kept",
                "edit.answer": "that of its source",
                "prompt.settles": "4 of 4 looks ready, 0 failed",
                "quota.success": "in 2 of 2 answers to requests that were refused",
            },
            set(),
        ),
        (
            {
                "forms": AnswerForms(thumbnail="small", copies="one", created=200, quota_headers="none"),
                "list_pending": True,
                "vocabulary": "ready",
            },
            {
                "size.4k": f"{TOO_SMALL}, less than was paid for",
                "size.2k": f"{TOO_SMALL}, less than was paid for",
                "copies.made": "copied: the answer names another avatar",
                "copies.count": "one copy for two edits",
                "list.pending": "4 of 4 pending looks in it",
                "status.words": "pending, ready",
                "words.pending": "pending",
                "create.status": "HTTP 200",
                "quota.limit": "no x-ratelimit-limit header that is a number",
            },
            {"size.4k", "size.2k"},
        ),
        (
            {
                "forms": AnswerForms(
                    thumbnail="small",
                    preview="full",
                    copies="each",
                    quota_headers="success",
                    reset_moves=True,
                ),
                "vocabulary": "completed",
            },
            {
                "size.4k": f"{AS_PAID} at another address than the look's own, where it is smaller, as was "
                "paid for",
                "copies.made": "copied: the answer names another avatar",
                "copies.count": "two copies for two edits",
                "words.settled": "one: completed and failed",
                "quota.success": "in 0 of 2 answers to requests that were refused",
            },
            {"size.4k", "size.2k"},
        ),
    ],
    ids=["default", "small", "elsewhere"],
)
def test_the_report_says_in_which_form_the_api_answers(
    serve: Serve, options: dict[str, Any], told: dict[str, str], fallen: set[str]
) -> None:
    """Each form that the pages allow is told, and matters only where a promise falls."""
    done = spend(serve(**options), 10, "--edit-public", PUBLIC)
    facts = facts_of(done)
    assert {name: facts[name]["seen"] for name in told} == told
    assert {name for name, fact in facts.items() if fact["matters"]} == fallen
    assert done.code == (1 if fallen else 0)


@pytest.mark.parametrize("known", ["imageUrls", "images"])
def test_the_other_name_of_the_field_for_images_is_tried(serve: Serve, known: Any) -> None:
    """If the API knows one name alone, the report tells which; it matters where that is the other one."""
    cli = serve(forms=AnswerForms(images=known))
    facts, refused = facts_of(spend(cli, 4)), "refused with HTTP 400, code MISSING_PROMPT"
    ours, other = facts["create.images"], facts["create.other_name"]
    assert [ours["seen"], other["seen"]] == (
        ["accepted", refused] if known == "imageUrls" else [refused, "accepted"]
    )
    assert (ours["matters"], other["matters"]) == (known == "images", False)
    assert [charge.credits for charge in cli.sandbox.ledger] == [0, 4]


def test_a_look_that_fails_is_told_and_counted(serve: Serve) -> None:
    """A look that could not be made is a failed step, and what was to be made from it is left out."""
    cli = serve(failures=1.0)
    done = spend(cli, 6)
    assert done.code == 1
    assert steps_of(done)["4K avatar: end"]["detail"] == "the look could not be made; it was paid for"
    assert facts_of(done)["prompt.settles"]["seen"] == "0 of 1 look ready, 1 failed"
    assert bought(cli) == [4]


@pytest.mark.parametrize("form", ["old", "new"])
def test_the_deliveries_of_bought_looks_are_told(serve: Serve, form: Any) -> None:
    """With `--public-url` it is told how many of the bought looks were delivered, and how often."""
    cli = serve(deliveries=DeliveryOptions(form=form, retries=QUICK))
    done = spend(cli, 6, *with_deliveries())
    assert done.code == 0, done.err
    assert facts_of(done)["delivery.bought"]["seen"] == "2 of 2 came"
    assert facts_of(done)["delivery.repeated"]["differs"] is not None
    assert Counter(one.status for one in cli.sandbox.deliveries) == {503: 3, 200: 4}


@pytest.mark.parametrize(
    ("answers", "price", "matters", "free"),
    [
        (["y", "118.5", "1,12.5"], "the balance fell by 6, as by the price list", False, True),
        (
            ["y", "many", "118", "113"],
            "the balance fell by 5; by the price list 6 credits were paid",
            True,
            False,
        ),
        (["y", ""], "balance not asked", False, False),
        (["y", "118", ""], "balance not asked", False, False),
    ],
)
def test_the_balance_tells_whether_the_prices_are_right(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, answers: list[str], price: str, matters: bool, free: bool
) -> None:
    """On a terminal the owner is asked for the balance before and after; Enter leaves that out."""
    cli, left = serve(), iter(answers)
    monkeypatch.setattr(Terminal, "can_ask", True)
    monkeypatch.setattr("builtins.input", lambda: next(left))
    done = cli("check", "--conformance", "--json", "--spend", "6")
    assert next(left, None) is None
    facts = facts_of(done)
    assert (facts["price.looks"]["seen"], facts["price.looks"]["matters"]) == (price, matters)
    assert (facts["create.price"]["differs"] is False) is free
    assert done.code == int(matters)


def test_a_no_buys_nothing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question lists each look with its price and where it is recorded; after a no nothing was sent."""
    cli = serve()
    monkeypatch.setattr(Terminal, "can_ask", True)
    monkeypatch.setattr("builtins.input", lambda: "n")
    done = cli("check", "--conformance", "--spend", "10", "--edit-public", PUBLIC)
    assert done.code == 4
    cap = "buys for 10 credits, and never for more than 10"
    for told in (cap, "at 4K: 4 credits", f"edit 2 of the look {PUBLIC}", "conformance.hoox.db"):
        assert told in done.err
    assert cli.sandbox.requests == []
    assert not Path("conformance.hoox.db").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--spend", "3"), "--spend 3: nothing costs so little; the first purchase costs 4 credits"),
        (("--spend", "0"), "--spend: 0 is not usable; expected a number of credits above 0"),
        (("--edit-public", PUBLIC), "--edit-public: only with --spend"),
        (("--store", "x.db"), "--store: only with --spend"),
        (("--spend", "4", "--edit-public", "ada"), "--edit-public ada: expected a look as avatar_id:look_id"),
    ],
)
def test_what_cannot_be_bought_is_told_before_anything_is_sent(
    serve: Serve, options: tuple[str, ...], told: str
) -> None:
    """A wrong option ends with code 2 and names itself, and nothing is sent."""
    cli = serve()
    done = cli("check", "--conformance", "--yes", *options)
    assert (done.code, told in done.err) == (2, True)
    assert cli.sandbox.requests == []


def test_a_report_of_purchases_holds_no_secret(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither form of the report holds the key, a token, an id, an address or a picture's signature."""
    plain = Space.picture_url
    monkeypatch.setattr(Space, "picture_url", lambda self, look: plain(self, look) + "?Signature=MARKED")
    cli = serve(deliveries=DeliveryOptions(retries=QUICK))
    options = ("--edit-public", PUBLIC, *with_deliveries())
    in_json = spend(cli, 10, *options)
    done = cli("check", "--conformance", "--yes", "--spend", "10", *options)
    needles = Needles(cli)
    for report in (in_json.out, done.out):
        assert len(report) > 5000
        assert needles.found_in(report) == []
        assert "public_ada" not in report
